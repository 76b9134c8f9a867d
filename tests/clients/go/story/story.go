// Package story is what every Go library is asked to send, and what of each call a destination
// must see.
//
// The stories are those of ../../python/story.py, told as Go's users tell them. Beside each call
// stands the part of the canonical event that has to come out at the other end.
package story

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"regexp"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"
)

var answered = regexp.MustCompile(`^response (\d{3}) `)
var refused = regexp.MustCompile(`^(\d{3}) `)

// Call is one call of a library, by the names of the canonical event.
type Call struct {
	Type         string         `json:"type"`
	MessageID    string         `json:"messageId"`
	UserID       string         `json:"userId,omitempty"`
	AnonymousID  string         `json:"anonymousId,omitempty"`
	GroupID      string         `json:"groupId,omitempty"`
	PreviousID   string         `json:"previousId,omitempty"`
	Event        string         `json:"event,omitempty"`
	Name         string         `json:"name,omitempty"`
	Properties   map[string]any `json:"properties,omitempty"`
	Traits       map[string]any `json:"traits,omitempty"`
	Integrations map[string]any `json:"integrations,omitempty"`
	Context      *Context       `json:"context,omitempty"`
	Timestamp    *time.Time     `json:"timestamp,omitempty"`
}

// Context is what the stories say of where a call was made.
type Context struct {
	IP       net.IP   `json:"ip"`
	Campaign Campaign `json:"campaign"`
}

// Campaign is what led to a call.
type Campaign struct {
	Name string `json:"name"`
}

// Client is a library, behind the calls that both have.
type Client interface {
	// Send hands one call over.
	Send(call Call) error
	// Close ends the library: what was not sent until then gets one more try.
	Close() error
}

// Failure is what a user hears of a batch that was given up.
type Failure struct {
	Status  int    `json:"status"`
	Message string `json:"message"`
}

// Story tells a story and remembers each call, and what the library reported as failed.
type Story struct {
	WriteKey string
	Host     string
	// RetryAfter says how long to wait before a try; nil is the library's own way, ten tries that
	// take half a minute or longer. Where no try can succeed, it is short.
	RetryAfter func(int) time.Duration

	mutex    sync.Mutex
	client   Client
	calls    []*Call
	open     map[string]*Call // by messageId: those that wait for an answer
	waiting  sync.WaitGroup
	failed   map[string]bool
	heard    map[error]bool
	errors   []Failure
	requests int
}

// New reads what the test asked for.
func New() *Story {
	story := &Story{
		WriteKey: os.Getenv("STORY_KEY"),
		Host:     os.Getenv("STORY_HOST"),
		open:     map[string]*Call{},
		failed:   map[string]bool{},
		heard:    map[error]bool{},
		errors:   []Failure{},
	}
	if os.Getenv("STORY") == "few" {
		story.RetryAfter = func(int) time.Duration { return 10 * time.Millisecond }
	}
	return story
}

// Tell tells the story, waits until all was answered, and reports. `module` is the library's.
func (story *Story) Tell(client Client, module string) {
	story.client = client
	switch name := os.Getenv("STORY"); name {
	case "calls":
		story.tellCalls()
	case "few":
		story.tellEachKind()
	case "endless":
		story.tellEndless()
	default:
		panic("no such story: " + name)
	}
	story.waiting.Wait()
	must(client.Close())
	story.report(module)
}

// Logf hears what a library logs: the only place where it tells of each answer that it got.
func (story *Story) Logf(format string, values ...any) {
	line := fmt.Sprintf(format, values...)
	fmt.Fprintln(os.Stderr, line)
	if answered.MatchString(line) {
		story.mutex.Lock()
		defer story.mutex.Unlock()
		story.requests++
	}
}

// Errorf hears the same of what a library logs as an error.
func (story *Story) Errorf(format string, values ...any) {
	story.Logf(format, values...)
}

// Answers is what a user hands to a library, whose messages are `M`, to hear of each event.
type Answers[M any] struct{ Story *Story }

// Success hears of an event that was taken.
func (answers Answers[M]) Success(message M) {
	answers.Story.settle(message, nil)
}

// Failure hears of an event that was given up: one error for all events of a batch.
func (answers Answers[M]) Failure(message M, reason error) {
	answers.Story.settle(message, reason)
}

func (story *Story) settle(message any, reason error) {
	said, err := json.Marshal(message)
	must(err)
	var sent struct{ MessageID, AnonymousID string }
	must(json.Unmarshal(said, &sent))
	story.mutex.Lock()
	defer story.mutex.Unlock()
	call := story.open[sent.MessageID]
	if call == nil {
		return // one of the libraries tells of a failure once more when it is closed
	}
	delete(story.open, sent.MessageID)
	if call.AnonymousID == "" {
		call.AnonymousID = sent.AnonymousID // which one of the libraries makes up
	}
	if reason != nil {
		story.failed[sent.MessageID] = true
		story.hear(reason)
	}
	story.waiting.Done()
}

func (story *Story) hear(reason error) {
	if story.heard[reason] {
		return
	}
	story.heard[reason] = true
	status := 0
	if found := refused.FindStringSubmatch(reason.Error()); found != nil {
		status, _ = strconv.Atoi(found[1])
	}
	story.errors = append(story.errors, Failure{status, reason.Error()})
}

// call calls the library. A destination must see what was said.
func (story *Story) call(said Call) {
	story.callSeen(said, said.Properties)
}

// callSeen calls the library. A destination must see other properties than were said.
func (story *Story) callSeen(said Call, seen map[string]any) {
	said.MessageID = uuid.NewString()
	call := said
	call.Properties = seen
	story.waiting.Add(1)
	story.mutex.Lock()
	story.calls = append(story.calls, &call)
	story.open[said.MessageID] = &call
	story.mutex.Unlock()
	must(story.client.Send(said))
}

func (story *Story) report(module string) {
	story.mutex.Lock()
	defer story.mutex.Unlock()
	failed := []string{}
	for messageID := range story.failed {
		failed = append(failed, messageID)
	}
	report, err := json.Marshal(map[string]any{
		"version":  versionOf(module),
		"calls":    story.calls,
		"failed":   failed,
		"errors":   story.errors,
		"requests": story.requests,
	})
	must(err)
	must(os.WriteFile(os.Getenv("STORY_REPORT"), report, 0o644))
}

func versionOf(module string) string {
	built, _ := debug.ReadBuildInfo()
	for _, needed := range built.Deps {
		if needed.Path == module && needed.Replace == nil {
			return needed.Version[1:]
		}
	}
	panic(module + " is not in this program as it was published")
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
