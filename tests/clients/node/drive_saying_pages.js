/* Opens pages of several libraries at once, lets each go on saying numbered events until STORY_STOP
   is there, then waits until its library has nothing left to send.

   No page says more while much of what it said is owed: how long a node is away decides nothing. */

import { existsSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { tellStories } from './visit.js'

const { STORIES, STORY_STOP } = process.env
const SITE = 'shop.example'
const PACE_MS = 70
const OWED_MAX = 30 // RudderStack's library keeps its hundred newest events
const BURST = 6 // the web SDK sends once nothing was said for a second

class Saying {
  constructor (visit) {
    this.visit = visit
    this.said = 0
    this.sent = new Set()
    this.taken = new Set()
    visit.context.on('request', (request) => note(request, this.sent))
    visit.context.on('response', (answer) => {
      if (answer.status() === 200) note(answer.request(), this.taken)
    })
  }

  async sayOne () {
    await this.visit.run((n) => window.say(n), this.said)
    this.said += 1
  }

  async sayUntilStopped (owed, burst = 0) {
    while (!existsSync(STORY_STOP)) {
      if (owed() < OWED_MAX) await this.sayOne()
      if (burst && this.said % burst === 0) await this.isSent()
      await pause(PACE_MS)
    }
  }

  isSent () {
    return this.visit.until(() => this.sent.has(this.said - 1), 'the latest is sent')
  }

  /* How many of the posts have no answer yet. */
  pending () {
    return this.visit.posts().filter((each) => each.status === undefined).length
  }

  untaken () {
    return this.said - this.taken.size
  }

  allTaken () {
    return this.visit.until(() => this.untaken() === 0, `all ${this.said} are taken`)
  }
}

function note (request, numbers) {
  if (request.method() !== 'POST') return
  for (const [, n] of (request.postData() ?? '').matchAll(/"n":"?(\d+)/g)) numbers.add(Number(n))
}

const ways = {
  async jitsu (saying) {
    await saying.sayUntilStopped(() => saying.pending())
    await saying.visit.until(() => saying.pending() === 0, 'all are answered')
  },

  /* What failed goes along with what is said next: there must be something. */
  async websdk (saying) {
    await saying.sayUntilStopped(() => 0, BURST)
    await saying.sayOne()
    await saying.allTaken()
  },

  async keeping (saying) {
    await saying.sayUntilStopped(() => saying.untaken())
    await saying.allTaken()
  }
}

function story (name) {
  return async (visit) => {
    const saying = new Saying(visit)
    await visit.open(`https://${name}.${SITE}/${name}.html`)
    await visit.until(() => visit.run(() => window.say !== undefined), 'the page is there')
    await (ways[name] ?? ways.keeping)(saying)
    const heard = await visit.run(() => window.heard ?? [])
    return { said: saying.said, taken: [...saying.taken], heard }
  }
}

const stories = Object.fromEntries(STORIES.split(' ').map((name) => [name, story(name)]))
await tellStories(stories, { areTogether: true })
