// Command rudder drives github.com/rudderlabs/analytics-go/v4 as its users write it: gzip is on.
package main

import (
	"time"

	analytics "github.com/rudderlabs/analytics-go/v4"

	"trunkline.test/clients/story"
)

type client struct{ analytics.Client }

func main() {
	told := story.New()
	library, err := analytics.NewWithConfig(told.WriteKey, analytics.Config{
		DataPlaneUrl: told.Host,
		Logger:       told,
		Callback:     story.Answers[analytics.Message]{Story: told},
		RetryAfter:   told.RetryAfter,
	})
	if err != nil {
		panic(err)
	}
	told.Tell(client{library}, "github.com/rudderlabs/analytics-go/v4")
}

// Send makes the library's own message of a call.
func (client client) Send(call story.Call) error {
	switch call.Type {
	case "identify":
		return client.Enqueue(analytics.Identify{
			MessageId: call.MessageID, UserId: call.UserID, AnonymousId: call.AnonymousID, Traits: call.Traits,
		})
	case "page":
		return client.Enqueue(analytics.Page{
			MessageId: call.MessageID, UserId: call.UserID, AnonymousId: call.AnonymousID,
			Name: call.Name, Properties: call.Properties,
		})
	case "screen":
		return client.Enqueue(analytics.Screen{
			MessageId: call.MessageID, UserId: call.UserID, AnonymousId: call.AnonymousID,
			Name: call.Name, Properties: call.Properties,
		})
	case "group":
		return client.Enqueue(analytics.Group{
			MessageId: call.MessageID, UserId: call.UserID, AnonymousId: call.AnonymousID,
			GroupId: call.GroupID, Traits: call.Traits,
		})
	case "alias":
		return client.Enqueue(analytics.Alias{
			MessageId: call.MessageID, UserId: call.UserID, PreviousId: call.PreviousID,
		})
	case "track":
		return client.track(call)
	}
	panic("no such call: " + call.Type)
}

func (client client) track(call story.Call) error {
	return client.Enqueue(analytics.Track{
		MessageId: call.MessageID, UserId: call.UserID, AnonymousId: call.AnonymousID,
		Event: call.Event, Properties: call.Properties, Integrations: call.Integrations,
		Context: contextOf(call), OriginalTimestamp: timeOf(call),
	})
}

func contextOf(call story.Call) *analytics.Context {
	if call.Context == nil {
		return nil
	}
	return &analytics.Context{
		IP: call.Context.IP, Campaign: analytics.CampaignInfo{Name: call.Context.Campaign.Name},
	}
}

func timeOf(call story.Call) time.Time {
	if call.Timestamp == nil {
		return time.Time{}
	}
	return *call.Timestamp
}
