import com.rudderstack.sdk.java.analytics.RudderAnalytics;
import com.rudderstack.sdk.java.analytics.Callback;
import com.rudderstack.sdk.java.analytics.Log;
import com.rudderstack.sdk.java.analytics.messages.AliasMessage;
import com.rudderstack.sdk.java.analytics.messages.GroupMessage;
import com.rudderstack.sdk.java.analytics.messages.IdentifyMessage;
import com.rudderstack.sdk.java.analytics.messages.Message;
import com.rudderstack.sdk.java.analytics.messages.MessageBuilder;
import com.rudderstack.sdk.java.analytics.messages.PageMessage;
import com.rudderstack.sdk.java.analytics.messages.ScreenMessage;
import com.rudderstack.sdk.java.analytics.messages.TrackMessage;
import java.util.Date;
import java.util.Map;

/** com.rudderstack.sdk.java.analytics:analytics as its users write it: gzip is on unless they turn it off. */
public final class DriveRudder implements Story.Client {
  private final RudderAnalytics analytics;

  private DriveRudder(Story story) {
    analytics =
        RudderAnalytics.builder(story.writeKey)
            .setDataPlaneUrl(story.host)
            .log(new Listener(story))
            .callback(new Answers(story))
            .build();
  }

  public static void main(String[] arguments) throws Exception {
    Story story = new Story();
    story.tell(new DriveRudder(story), "com.rudderstack.sdk.java.analytics", "analytics");
  }

  @Override
  public void call(String kind, Map<String, Object> said) {
    MessageBuilder<?, ?> message = begin(kind, said);
    message.messageId((String) said.get("messageId"));
    if (said.containsKey("userId")) message.userId((String) said.get("userId"));
    if (said.containsKey("anonymousId")) message.anonymousId((String) said.get("anonymousId"));
    if (said.containsKey("timestamp")) message.timestamp((Date) said.get("timestamp"));
    if (said.containsKey("context")) message.context(inner(said, "context"));
    inner(said, "integrations").forEach((name, isOn) -> message.enableIntegration(name, (Boolean) isOn));
    analytics.enqueue(message);
  }

  @Override
  public void flush() {
    analytics.flush();
  }

  @Override
  public void shutdown() {
    analytics.shutdown();
  }

  private static MessageBuilder<?, ?> begin(String kind, Map<String, Object> said) {
    String name = (String) said.get("name");
    Map<String, Object> properties = inner(said, "properties");
    switch (kind) {
      case "identify": return IdentifyMessage.builder().traits(inner(said, "traits"));
      case "track": return TrackMessage.builder((String) said.get("event")).properties(properties);
      case "page": return PageMessage.builder(name).category((String) said.get("category")).properties(properties);
      case "screen": return ScreenMessage.builder(name).properties(properties);
      case "group": return GroupMessage.builder((String) said.get("groupId")).traits(inner(said, "traits"));
      case "alias": return AliasMessage.builder((String) said.get("previousId"));
      default: throw new IllegalArgumentException(kind);
    }
  }

  @SuppressWarnings("unchecked")
  private static Map<String, Object> inner(Map<String, Object> said, String name) {
    return (Map<String, Object>) said.getOrDefault(name, Map.of());
  }

  private static final class Listener implements Log {
    private final Story story;

    Listener(Story story) {
      this.story = story;
    }

    @Override
    public void print(Level level, String format, Object... arguments) {
      story.onLog(String.format(format, arguments));
    }

    @Override
    public void print(Level level, Throwable error, String format, Object... arguments) {
      story.onLog(String.format(format, arguments));
    }
  }

  private static final class Answers implements Callback {
    private final Story story;

    Answers(Story story) {
      this.story = story;
    }

    @Override
    public void success(Message message) {
      story.onSuccess(message.messageId());
    }

    @Override
    public void failure(Message message, Throwable error) {
      story.onFailure(message.messageId(), error);
    }
  }
}
