/* Visits pages with RudderStack's and Jitsu's own libraries, and says what it saw and sent. */

import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { OTHER, SHOP, tellStories } from './visit.js'

const { STORY_HOLD, STORY_AWAY } = process.env
const CALLS = { rudder: 5, jitsu: 4 }

function answeredWith (visit, status) {
  return visit.posts().filter((each) => each.status === status).length
}

/* Wait until so many events were answered with a yes, each counted once however often it was sent. */
function taken (visit, count) {
  const ids = () => new Set(
    visit.posts().filter((each) => each.status === 200).flatMap((each) => idsIn(each.body))
  )
  return visit.until(() => ids().size >= count, `${count} events are taken`)
}

function idsIn (body) {
  const told = JSON.parse(body)
  return (told.batch ?? [told]).map((event) => event.messageId)
}

function loaded (visit) {
  return visit.until(() => visit.run(() => window.sdk !== undefined), 'the library is there')
}

/* Wait until Jitsu's library told its user of so many failures. */
function hears (visit, count) {
  return visit.until(async () => await visit.run(() => window.heard.length) >= count, 'it is told so')
}

/* Say it all, reload, and say it again; then be somebody else. */
async function comeTwice (visit, path, calls, ids) {
  await visit.open(`${SHOP}/${path}`)
  await taken(visit, calls)
  const first = await visit.run(ids)
  await visit.page.reload()
  await taken(visit, 2 * calls)
  const again = await visit.run(ids)
  await visit.run(() => window.sdk.reset(true))
  const reset = await visit.run(ids)
  await visit.run(() => window.sdk.track('Said By Another'))
  await taken(visit, 2 * calls + 1)
  return { first, again, reset }
}

/* Go while two events are stored, and the page does not know it; come again. */
async function goInTheMiddle (visit, path, calls, again) {
  await visit.open(`${SHOP}/${path}`)
  await taken(visit, calls)
  writeFileSync(STORY_HOLD, '')
  await visit.run(() => {
    window.sdk.track('Said Before', { n: 1 })
    window.sdk.track('Said Before', { n: 2 })
  })
  await visit.until(() => readFileSync(STORY_HOLD).length === 2, 'both are stored')
  await visit.page.reload()
  rmSync(STORY_HOLD)
  await taken(visit, calls + calls + again)
}

/* Say something while the node is away, until that has failed; then it is back. */
async function whileAway (visit, path, calls) {
  await visit.open(`${SHOP}/${path}`)
  await taken(visit, calls)
  writeFileSync(STORY_AWAY, '')
  await visit.run(() => {
    window.sdk.track('Said While Away', { n: 1 })
    window.sdk.track('Said While Away', { n: 2 })
  })
  const failed = () => answeredWith(visit, 503) + answeredWith(visit, -1)
  await visit.until(() => failed() >= 2, 'both have failed')
  rmSync(STORY_AWAY)
  await visit.run(() => { window.sdk.track('Said When Back') })
}

const rudderId = () => window.sdk.getAnonymousId()
const jitsuId = () => window.sdk.user().anonymousId

const stories = {
  'rudder-twice': (visit) => comeTwice(visit, 'rudder-calls.html', CALLS.rudder, rudderId),
  'rudder-twice-near': (visit) => comeTwice(visit, 'rudder-calls-near.html', CALLS.rudder, rudderId),
  'jitsu-twice': (visit) => comeTwice(visit, 'jitsu-calls.html', CALLS.jitsu, jitsuId),
  'jitsu-twice-near': (visit) => comeTwice(visit, 'jitsu-calls-near.html', CALLS.jitsu, jitsuId),

  async 'jitsu-tag' (visit) {
    await visit.open(`${SHOP}/jitsu-tag.html`)
    await taken(visit, CALLS.jitsu + 1) // the tag says `page` too
  },

  async 'rudder-batches' (visit) {
    await visit.open(`${SHOP}/rudder-batches.html`)
    await taken(visit, CALLS.rudder)
  },

  async 'rudder-beacons' (visit) {
    await visit.open(`${SHOP}/rudder-beacons.html`)
    await loaded(visit)
    await visit.run(() => new Promise((resolve) => window.sdk.ready(resolve)))
    await visit.run(() => { window.sdk.track('Said Last') })
    await visit.page.goto('about:blank')
    // What a page sends when it goes is nobody's request, so none is noted. Its answer has a cookie.
    const isAnswered = async () => (await visit.cookies()).some((each) => each.name.startsWith('trunkline_'))
    await visit.until(isAnswered, 'the beacon is answered')
  },

  'rudder-gone': (visit) => goInTheMiddle(visit, 'rudder-calls.html', CALLS.rudder, 2),
  'jitsu-gone': (visit) => goInTheMiddle(visit, 'jitsu-calls.html', CALLS.jitsu, 0),

  async 'rudder-away' (visit) {
    await whileAway(visit, 'rudder-calls-near.html', CALLS.rudder)
    await taken(visit, CALLS.rudder + 3)
  },

  async 'rudder-far-away' (visit) {
    await whileAway(visit, 'rudder-calls.html', CALLS.rudder)
    await taken(visit, CALLS.rudder + 3)
  },

  async 'jitsu-away' (visit) {
    await whileAway(visit, 'jitsu-calls-near.html', CALLS.jitsu)
    await taken(visit, CALLS.jitsu + 1)
    await hears(visit, 2)
    return { heard: await visit.run(() => window.heard) }
  },

  async 'rudder-foreign' (visit) {
    await visit.open(`${OTHER}/rudder-calls.html`)
    await loaded(visit)
    await visit.until(() => visit.errors.length >= 1, 'it is told that it may not')
  },

  async 'jitsu-foreign' (visit) {
    await visit.open(`${OTHER}/jitsu-calls.html`)
    await visit.until(() => answeredWith(visit, 403) >= CALLS.jitsu, 'all are refused')
    await hears(visit, CALLS.jitsu)
    return { heard: await visit.run(() => window.heard) }
  }
}

await tellStories(stories)
