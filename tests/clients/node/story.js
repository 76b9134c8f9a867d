/* What every Node library is asked to send, and what of each call a destination must see.

   The stories are those of ../python/story.py, told as JavaScript's users tell them. Beside each
   call stands the part of the canonical event that has to come out at the other end. */

import { randomUUID } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'

const MANY = 250 // a batch holds 15 or 20
const USERS = 10
const ENDLESS_MAX = 9000
const PAUSE_MS = 20
const DAY_MS = 86_400_000

export class Story {
  constructor (name) {
    this.writeKey = process.env.STORY_KEY
    this.host = process.env.STORY_HOST
    // What a user may set where an outage is longer than the library's own patience.
    this.retries = Number(process.env.STORY_RETRIES) || undefined
    this.requests = 0
    const manifest = new URL(`node_modules/${name}/package.json`, import.meta.url)
    this.version = JSON.parse(readFileSync(manifest)).version
    this.calls = []
    this.failed = []
    this.errors = []
    this.answered = 0
  }

  /* What a user hears of a failed request. */
  onError (error) {
    const reason = error.reason ?? error
    const status = reason.response?.status ?? Number(/\[(\d+)\]/.exec(reason.message)?.[1] ?? 0)
    this.errors.push({ status, message: String(reason.message) })
  }

  /* Call the library. A destination must see what was said, unless `mustSee` says otherwise. */
  call (kind, said, mustSee = {}) {
    const messageId = randomUUID()
    this.calls.push({ type: kind, ...said, messageId, ...mustSee })
    this.client[kind]({ ...said, messageId }, (error) => {
      this.answered += 1
      if (error) this.failed.push(messageId)
    })
  }

  async tell (client) {
    this.client = client
    if (process.env.STORY === 'endless') await this.tellEndless()
    else if (process.env.STORY === 'few') this.tellEachKind()
    else this.tellCalls()
  }

  /* Wait until every call was answered, flushing on the way. */
  async settle (flush) {
    while (this.answered < this.calls.length) {
      await flush()
      await pause(20)
    }
  }

  report () {
    const { version, calls, failed, errors, requests } = this
    const report = { version, calls, failed, errors, requests: requests || errors.length }
    writeFileSync(process.env.STORY_REPORT, JSON.stringify(report))
  }

  tellCalls () {
    this.tellEachKind()
    this.tellAwkwardValues()
    this.tellAwkwardText()
    this.tellWhereAndWhen()
    for (let number = 0; number < MANY; number++) this.trackNumber(number)
  }

  tellEachKind () {
    const userId = 'u-1'
    this.call('identify', { userId, traits: { name: 'مریم احمدی', plan: '🚀', age: 42 } })
    this.call('track', { userId, event: 'Order Completed', properties: { revenue: 49.9 } })
    this.call('track', { anonymousId: 'anon-1', event: 'Cart Viewed', properties: { items: 3 } })
    // One of the libraries copies the category into the properties; so it stands there anyhow.
    const start = { url: 'https://a.b/', category: 'Docs' }
    this.call('page', { userId, category: 'Docs', name: 'Start', properties: start })
    this.call('screen', { userId, category: 'Wallet', name: 'Balance', properties: { dark: true } })
    this.call('group', { userId, groupId: 'g-1', traits: { name: 'Acme', seats: 12 } })
    this.call('alias', { userId, previousId: 'anon-1' })
  }

  tellAwkwardValues () {
    const properties = {
      none: null,
      missing: undefined,
      not_a_number: NaN,
      empty: '',
      empty_list: [],
      empty_object: {},
      true: true,
      false: false,
      zero: 0,
      negative: -7,
      largest_safe: Number.MAX_SAFE_INTEGER,
      above_int64: 2 ** 63,
      above_uint64: 1e25,
      float: 0.1,
      tiny: Number.MIN_VALUE,
      huge: Number.MAX_VALUE,
      moment: new Date('2026-03-21T01:02:03.456Z'),
      nested: { a: [{ b: [null, { c: { d: [1, [2, [3]]] } }] }] }
    }
    this.call('track', { userId: 'u-2', event: 'Values', properties })
    this.call('track', { userId: 'u-2', event: 'Nothing said', properties: {} })
  }

  tellAwkwardText () {
    this.call('track', {
      userId: 'کاربر-۱',
      event: 'خرید انجام شد 🎉',
      properties: {
        متن: 'نیم\u200cفاصله، «گیومه» و \u200fراست‌به‌چپ',
        emoji: '👩🏽\u200d💻🏴󠁧󠁢󠁳󠁣󠁴󠁿',
        controls: '\x00\x01\t\n\r\x7f\u2028\u2029',
        quotes: '"\'\\/<script>&amp;',
        'with.dot and space': '€'
      }
    })
    // Half an emoji, as a careless cut leaves it, becomes the replacement character.
    const cut = { userId: 'u-3', event: 'Cut', properties: { text: 'cut \ud83d' } }
    this.call('track', cut, { properties: { text: 'cut \ufffd' } })
    // Two bytes a character on the wire: just under the 32,768 that one event may have.
    this.call('track', { userId: 'u-3', event: 'Long', properties: { text: 'س'.repeat(15_900) } })
  }

  tellWhereAndWhen () {
    this.call('track', {
      userId: 'u-4',
      event: 'Context',
      context: { ip: '203.0.113.9', campaign: { name: 'نوروز' } },
      integrations: { All: true, Elsewhere: false }
    })
    const timestamp = new Date(Date.now() - 2 * DAY_MS)
    this.call('track', { userId: 'u-4', event: 'The day before yesterday', timestamp })
  }

  async tellEndless () {
    for (let number = 0; number < ENDLESS_MAX; number++) {
      this.trackNumber(number)
      await pause(PAUSE_MS)
      if (existsSync(process.env.STORY_STOP)) return
    }
  }

  trackNumber (number) {
    const userId = `user-${number % USERS}`
    this.call('track', { userId, event: 'Numbered', properties: { number, text: 'سفارش' } })
  }
}
