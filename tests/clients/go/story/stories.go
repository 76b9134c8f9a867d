package story

import (
	"encoding/json"
	"math"
	"math/big"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	many       = 250 // a batch holds 250, and other calls come before
	users      = 10
	endlessMax = 9000
	pause      = 20 * time.Millisecond
)

type object = map[string]any
type list = []any

func (story *Story) tellCalls() {
	story.tellEachKind()
	story.tellAwkwardValues()
	story.tellAwkwardText()
	story.tellWhereAndWhen()
	for number := 0; number < many; number++ {
		story.trackNumber(number)
	}
}

func (story *Story) tellEachKind() {
	user := "u-1"
	story.call(Call{Type: "identify", UserID: user, Traits: object{"name": "مریم احمدی", "plan": "🚀", "age": 42}})
	story.call(Call{Type: "track", UserID: user, Event: "Order Completed", Properties: object{"revenue": 49.9}})
	story.call(Call{Type: "track", AnonymousID: "anon-1", Event: "Cart Viewed", Properties: object{"items": 3}})
	story.call(Call{Type: "page", UserID: user, Name: "Start", Properties: object{"url": "https://a.b/?x=1&y=<2>"}})
	story.call(Call{Type: "screen", UserID: user, Name: "Balance", Properties: object{"dark": true}})
	story.call(Call{Type: "group", UserID: user, GroupID: "g-1", Traits: object{"name": "Acme", "seats": 12}})
	story.call(Call{Type: "alias", UserID: user, PreviousID: "anon-1"})
}

func (story *Story) tellAwkwardValues() {
	above := new(big.Int).Exp(big.NewInt(10), big.NewInt(25), nil)
	properties := object{
		"none":         nil,
		"empty":        "",
		"empty_list":   list{},
		"empty_object": object{},
		"true":         true,
		"false":        false,
		"zero":         0,
		"negative":     int64(-7),
		"above_double": int64(1<<53 + 1),
		"above_int64":  uint64(math.MaxUint64),
		"above_uint64": above.Add(above, big.NewInt(1)),
		"float":        0.1,
		"tiny":         math.SmallestNonzeroFloat64,
		"huge":         math.MaxFloat64,
		"decimal":      json.Number("12.50"),
		"moment":       time.Date(2026, time.March, 21, 1, 2, 3, 456789012, time.UTC),
		"nested":       object{"a": list{object{"b": list{nil, object{"c": object{"d": list{1, list{2, list{3}}}}}}}}},
	}
	story.call(Call{Type: "track", UserID: "u-2", Event: "Values", Properties: properties})
	story.call(Call{Type: "track", UserID: "u-2", Event: "Nothing said"})
}

func (story *Story) tellAwkwardText() {
	text := object{
		"متن":                "نیم\u200cفاصله، «گیومه» و \u200fراست‌به‌چپ",
		"emoji":              "👩🏽\u200d💻🏴󠁧󠁢󠁳󠁣󠁴󠁿",
		"controls":           "\x00\x01\t\n\r\x7f\u2028\u2029",
		"quotes":             "\"'\\/<script>&amp;",
		"with.dot and space": "€",
	}
	story.call(Call{Type: "track", UserID: "کاربر-۱", Event: "خرید انجام شد 🎉", Properties: text})
	// Half an emoji, as a careless cut leaves it: Go itself replaces each of its two bytes.
	cut := Call{Type: "track", UserID: "u-3", Event: "Cut", Properties: object{"text": "cut " + "🚀"[:2]}}
	story.callSeen(cut, object{"text": "cut \ufffd\ufffd"})
	// Two bytes a character on the wire: just under the 32,000 that one event may have.
	long := strings.Repeat("س", 15_850)
	story.call(Call{Type: "track", UserID: "u-3", Event: "Long", Properties: object{"text": long}})
}

func (story *Story) tellWhereAndWhen() {
	story.call(Call{
		Type: "track", UserID: "u-4", Event: "Context",
		Context:      &Context{IP: net.ParseIP("203.0.113.9"), Campaign: Campaign{Name: "نوروز"}},
		Integrations: object{"All": true, "Elsewhere": false},
	})
	past := time.Now().AddDate(0, 0, -2)
	story.call(Call{Type: "track", UserID: "u-4", Event: "The day before yesterday", Timestamp: &past})
	tehran := past.In(time.FixedZone("Tehran", 3*3600+1800))
	story.call(Call{Type: "track", UserID: "u-4", Event: "In Tehran", Timestamp: &tehran})
}

func (story *Story) tellEndless() {
	for number := 0; number < endlessMax; number++ {
		if _, err := os.Stat(os.Getenv("STORY_STOP")); err == nil {
			return
		}
		story.trackNumber(number)
		time.Sleep(pause)
	}
}

func (story *Story) trackNumber(number int) {
	user := "user-" + strconv.Itoa(number%users)
	story.call(Call{Type: "track", UserID: user, Event: "Numbered", Properties: object{"number": number, "text": "سفارش"}})
}
