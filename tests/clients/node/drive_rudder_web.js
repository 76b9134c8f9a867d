/* @rudderstack/analytics-js as a page uses it, with everything bundled: no script is fetched. */

import { readFileSync, writeFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { openPage, sendAsPage } from './browser.js'
import { leavePage, openDocument } from './document.js'

const PATIENCE_MS = 40_000
const QUIET_MS = 300

const { STORY, STORY_HOST, STORY_KEY, STORY_REPORT } = process.env
openPage()
let answersToLose = STORY === 'lost' ? 1 : 0
const parcels = openDocument(async (url, init) => {
  const answer = await sendAsPage(url, init)
  if (init.method === 'POST' && answersToLose-- > 0) throw new TypeError('Failed to fetch: the answer was lost')
  return answer
})
const said = []
const { RudderAnalytics } = await import('@rudderstack/analytics-js/bundled')

/* Wait until this many requests were answered, and a little longer: more must not come. */
async function settle (count) {
  const answered = () => parcels.filter((parcel) => parcel.status > 0).length
  for (let waited = 0; answered() < count && waited < PATIENCE_MS; waited += 50) await pause(50)
  await pause(QUIET_MS)
}

const sdk = new RudderAnalytics()
const options = { configUrl: STORY_HOST, logLevel: 'ERROR' }
if (STORY === 'batches') options.queueOptions = { batch: { enabled: true, maxItems: 3, flushInterval: 500 } }
if (STORY === 'beacons') options.useBeacon = true
console.error = (...line) => said.push(line.map(String).join(' '))
sdk.load(STORY_KEY, STORY_HOST, options)
await settle(1)

if (STORY !== 'refused') {
  sdk.page('Docs', 'Start', { step: 1 })
  sdk.identify('u-web', { name: 'مریم', plan: '🚀' })
  sdk.track('Cart Viewed', { items: 3, text: 'نیم\u200cفاصله', none: null, nested: { a: [1, { b: 2 }] } })
  sdk.group('g-1', { seats: 12 })
  sdk.alias('u-new', 'u-web')
  sdk.track('Order Completed', { revenue: 49.9 })
  if (STORY === 'beacons') leavePage()
  await settle({ calls: 7, lost: 7, batches: 3, beacons: 2 }[STORY])
}
const manifest = new URL('node_modules/@rudderstack/analytics-js/package.json', import.meta.url)
const told = { version: JSON.parse(readFileSync(manifest)).version, parcels, errors: said }
writeFileSync(STORY_REPORT, JSON.stringify(told))
process.exit(0) // the SDK's own timers would keep it alive
