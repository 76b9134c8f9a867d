/* @jitsu/js as its users write it: in a back end (Node's own fetch), or in a page. */

import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { openPage, sendAsPage } from './browser.js'
import { openDocument } from './document.js'

const ENDLESS_MAX = 9000
const PAUSE_MS = 20
const TEXT = 'نیم\u200cفاصله، 👩🏽\u200d💻 \u2028 "\\'

const { STORY, STORY_HOST, STORY_KEY, STORY_REPORT, STORY_STOP } = process.env
const isPage = STORY === 'page'
if (isPage) {
  openPage()
  openDocument(sendAsPage)
}
const { jitsuAnalytics } = await import('@jitsu/js')
const parcels = []
const errors = []

/* Its option for those who bring their own fetch; here it keeps what was sent and answered. */
async function send (url, init) {
  const parcel = { url, headers: init.headers, body: JSON.parse(init.body), status: 0, answer: null }
  parcels.push(parcel)
  const answer = await (isPage ? sendAsPage : fetch)(url, init)
  parcel.status = answer.status
  parcel.answer = await answer.clone().json()
  return answer
}

const jitsu = jitsuAnalytics({
  host: STORY_HOST,
  writeKey: STORY_KEY,
  s2s: !isPage,
  fetch: send,
  fetchTimeoutMs: 20_000,
  errorPolicy: (message) => errors.push(message),
  ...(isPage && { privacy: { ipPolicy: 'stripLastOctet', consentCategories: { ads: false } } })
})

async function tellCalls () {
  const nested = { a: [{ b: [null, { c: [1, [2, [3]]] }] }] }
  await jitsu.track('Cart Viewed', { items: 3 })
  await jitsu.identify('u-1', { name: 'مریم', plan: '🚀', age: 42 })
  await jitsu.page({ name: 'Start', url: 'https://a.b/docs?x=1' })
  await jitsu.group('g-1', { name: 'Acme', seats: 12 })
  await jitsu.track('خرید انجام شد 🎉', { text: TEXT, nested, none: null, empty: '', tiny: Number.MIN_VALUE, large: 1e25 })
  await jitsu.track('Context', { context: { ip: '203.0.113.9', campaign: { name: 'نوروز' } } })
  await jitsu.track('Long', { text: 'س'.repeat(15_800) })
}

async function tellEndless () {
  for (let number = 0; number < ENDLESS_MAX && !existsSync(STORY_STOP); number++) {
    await jitsu.track('Numbered', { number })
    await pause(PAUSE_MS)
  }
}

await (STORY === 'endless' ? tellEndless() : tellCalls())
const manifest = new URL('node_modules/@jitsu/js/package.json', import.meta.url)
writeFileSync(STORY_REPORT, JSON.stringify({ version: JSON.parse(readFileSync(manifest)).version, parcels, errors }))
process.exit(0)
