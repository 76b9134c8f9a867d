import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonPrimitive;
import com.google.gson.JsonSerializer;
import java.io.IOException;
import java.io.InputStream;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Date;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeSet;
import java.util.UUID;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What every Java library is asked to send, and what of each call a destination must see.
 *
 * <p>The stories are those of ../python/story.py, told as Java's users tell them. Beside each call
 * stands the part of the canonical event that has to come out at the other end.
 */
final class Story {
  private static final int MANY = 250; // a batch holds 250, and other calls come before
  private static final int USERS = 10;
  private static final int ENDLESS_MAX = 9000;
  private static final long PAUSE_MS = 20;
  private static final Pattern ANSWERED = Pattern.compile("<-- (\\d{3}) ");
  // Leaves null out of maps, as the libraries do: for both, null is what was not said.
  private static final Gson GSON =
      new GsonBuilder()
          .registerTypeAdapter(
              Date.class,
              (JsonSerializer<Date>) (date, type, context) -> new JsonPrimitive(date.toInstant().toString()))
          .create();

  /** A library, behind the one call that all of them have. */
  interface Client {
    /** Hands one call over: its kind, and what is said, by the names of the canonical event. */
    void call(String kind, Map<String, Object> said);

    /** Sends what is waiting. */
    void flush();

    /** Ends the library's threads. */
    void shutdown();
  }

  final String writeKey = System.getenv("STORY_KEY");
  final String host = System.getenv("STORY_HOST");
  private final List<Map<String, Object>> calls = new ArrayList<>();
  private final Set<String> answered = new TreeSet<>();
  private final Set<String> failed = new TreeSet<>();
  private final List<Map<String, Object>> errors = new ArrayList<>();
  private final Set<Throwable> heard = Collections.newSetFromMap(new IdentityHashMap<>());
  private int status;
  private Client client;

  /** Tells the story that the test asked for, waits until all was answered, and reports. */
  void tell(Client client, String group, String artifact) throws IOException, InterruptedException {
    this.client = client;
    switch (System.getenv("STORY")) {
      case "calls": tellCalls(); break;
      case "few": tellEachKind(); break;
      case "endless": tellEndless(); break;
      default: throw new IllegalArgumentException(System.getenv("STORY"));
    }
    client.flush();
    untilAnswered();
    client.shutdown();
    report(versionOf(group, artifact));
  }

  /** What a user's log is told; the only place where the library names the status of an answer. */
  synchronized void onLog(String line) {
    Matcher matcher = ANSWERED.matcher(line);
    if (matcher.find()) status = Integer.parseInt(matcher.group(1));
  }

  /** What a user hears of an event that was taken. */
  synchronized void onSuccess(String messageId) {
    answered.add(messageId);
    notifyAll();
  }

  /** What a user hears of an event that was given up: one error for all events of a batch. */
  synchronized void onFailure(String messageId, Throwable error) {
    if (heard.add(error)) errors.add(map("status", status, "message", String.valueOf(error.getMessage())));
    failed.add(messageId);
    answered.add(messageId);
    notifyAll();
  }

  static Map<String, Object> map(Object... pairs) {
    Map<String, Object> map = new LinkedHashMap<>();
    for (int at = 0; at < pairs.length; at += 2) map.put((String) pairs[at], pairs[at + 1]);
    return map;
  }

  /** Calls the library. A destination must see what was said, unless `mustSee` says otherwise. */
  private void call(String kind, Map<String, Object> said, Map<String, Object> mustSee) {
    said.put("messageId", UUID.randomUUID().toString());
    Map<String, Object> call = map("type", kind);
    call.putAll(said);
    call.putAll(mustSee);
    calls.add(call);
    client.call(kind, said);
  }

  private void call(String kind, Object... said) {
    call(kind, map(said), map());
  }

  private synchronized void untilAnswered() throws InterruptedException {
    while (answered.size() < calls.size()) wait();
  }

  private void report(String version) throws IOException {
    Map<String, Object> report =
        map("version", version, "calls", calls, "failed", failed, "errors", errors, "requests", errors.size());
    Files.writeString(Path.of(System.getenv("STORY_REPORT")), GSON.toJson(report));
  }

  private static String versionOf(String group, String artifact) throws IOException {
    Properties properties = new Properties();
    String name = "/META-INF/maven/" + group + "/" + artifact + "/pom.properties";
    try (InputStream stream = Story.class.getResourceAsStream(name)) {
      properties.load(stream);
    }
    return properties.getProperty("version");
  }

  private void tellCalls() {
    tellEachKind();
    tellAwkwardValues();
    tellAwkwardText();
    tellWhereAndWhen();
    for (int number = 0; number < MANY; number++) trackNumber(number);
  }

  private void tellEachKind() {
    call("identify", "userId", "u-1", "traits", map("name", "مریم احمدی", "plan", "🚀", "age", 42));
    call("track", "userId", "u-1", "event", "Order Completed", "properties", map("revenue", 49.9));
    call("track", "anonymousId", "anon-1", "event", "Cart Viewed", "properties", map("items", 3));
    Map<String, Object> start = map("url", "https://a.b/?x=1&y=<2>");
    call("page", "userId", "u-1", "category", "Docs", "name", "Start", "properties", start);
    call("screen", "userId", "u-1", "name", "Balance", "properties", map("dark", true));
    call("group", "userId", "u-1", "groupId", "g-1", "traits", map("name", "Acme", "seats", 12));
    call("alias", "userId", "u-1", "previousId", "anon-1");
  }

  private void tellAwkwardValues() {
    Map<String, Object> nested = map("a", List.of(map("b", List.of(1, map("c", map("d", List.of(1, List.of(2))))))));
    Map<String, Object> properties =
        map(
            "none", null,
            "empty", "",
            "empty_list", List.of(),
            "empty_object", map(),
            "true", true,
            "false", false,
            "zero", 0,
            "negative", -7L,
            "above_double", (1L << 53) + 1,
            "above_int64", BigInteger.ONE.shiftLeft(63),
            "above_uint64", BigInteger.TEN.pow(25).add(BigInteger.ONE),
            "float", 0.1,
            "tiny", Double.MIN_VALUE,
            "huge", Double.MAX_VALUE,
            "decimal", new BigDecimal("12.50"),
            "moment", Date.from(Instant.parse("2026-03-21T01:02:03.456Z")),
            "nested", nested);
    call("track", "userId", "u-2", "event", "Values", "properties", properties);
    call("track", "userId", "u-2", "event", "Nothing said");
  }

  private void tellAwkwardText() {
    Map<String, Object> text =
        map(
            "متن", "نیم\u200cفاصله، «گیومه» و \u200fراست‌به‌چپ",
            "emoji", "👩🏽\u200d💻🏴󠁧󠁢󠁳󠁣󠁴󠁿",
            "controls", "\0\1\t\n\r\177\u2028\u2029",
            "quotes", "\"'\\/<script>&amp;",
            "with.dot and space", "€");
    call("track", "userId", "کاربر-۱", "event", "خرید انجام شد 🎉", "properties", text);
    // Half an emoji, as a careless cut leaves it: Java itself writes a question mark for it.
    Map<String, Object> cut = map("userId", "u-3", "event", "Cut", "properties", map("text", "cut \ud83d"));
    call("track", cut, map("properties", map("text", "cut ?")));
    // Two bytes a character on the wire: just under the 32,768 that one event may have.
    call("track", "userId", "u-3", "event", "Long", "properties", map("text", "س".repeat(15_900)));
  }

  private void tellWhereAndWhen() {
    Map<String, Object> context = map("ip", "203.0.113.9", "campaign", map("name", "نوروز"));
    Map<String, Object> integrations = map("All", true, "Elsewhere", false);
    call("track", "userId", "u-4", "event", "Context", "context", context, "integrations", integrations);
    Date past = Date.from(Instant.now().minus(Duration.ofDays(2)));
    call("track", "userId", "u-4", "event", "The day before yesterday", "timestamp", past);
  }

  private void tellEndless() throws InterruptedException {
    Path stop = Path.of(System.getenv("STORY_STOP"));
    for (int number = 0; number < ENDLESS_MAX && !Files.exists(stop); number++) {
      trackNumber(number);
      Thread.sleep(PAUSE_MS);
    }
  }

  private void trackNumber(int number) {
    String userId = "user-" + number % USERS;
    call("track", "userId", userId, "event", "Numbered", "properties", map("number", number, "text", "سفارش"));
  }
}
