/* Visits pages with first-party Analytics.js, as a visitor does, and says what it saw and sent. */

import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { EVENTS, OTHER, SHOP, tellStories } from './visit.js'

const { STORY_HOLD } = process.env

const stories = {
  async plain (visit) {
    await visit.open(`${SHOP}/plain.html`)
    await visit.sent(5)
  },

  async snippet (visit) {
    await visit.open(`${SHOP}/snippet.html`)
    await visit.sent(6) // the snippet says `page` too
  },

  async prefixed (visit) {
    await visit.open(`${SHOP}/prefixed.html`)
    await visit.sent(5)
  },

  async alone (visit) {
    await visit.open(`${SHOP}/alone.html`)
    await visit.started()
    await visit.run(() => window.analytics.track('Said Last'))
    await visit.sent(2)
  },

  async subdomain (visit) {
    await visit.open(`${SHOP}/subdomain.html`)
    await visit.sent(5)
    const first = await visit.anonymousId()
    await visit.forgetWhatScriptsWrote()
    await visit.open(`${SHOP}/subdomain.html`)
    await visit.sent(10)
    const again = await visit.anonymousId()
    await visit.run(() => window.analytics.reset())
    const reset = await visit.anonymousId()
    await visit.open(`${SHOP}/subdomain.html`)
    await visit.sent(15)
    return { first, again, reset, last: await visit.anonymousId() }
  },

  async restored (visit) {
    await visit.open(`${SHOP}/plain.html`)
    await visit.sent(5)
    const first = await visit.anonymousId()
    await visit.forgetWhatScriptsWrote()
    await visit.open(`${SHOP}/plain.html`)
    await visit.sent(10)
    return { first, again: await visit.anonymousId() }
  },

  async private (visit) {
    await visit.open(`${SHOP}/private.html`)
    await visit.sent(1)
  },

  async parts (visit) {
    await visit.open(`${SHOP}/plain.html?ajs_event=Campaign%20Clicked`)
    await visit.sent(6)
    await visit.run(() => window.analytics.trackClick(document.querySelector('#buy'), 'Clicked'))
    await visit.until(
      () => visit.requests.some((each) => each.url.includes('auto-track') && each.status === 200),
      'the part for clicks is there'
    )
    await visit.page.click('#buy')
    await visit.sent(7)
  },

  async offline (visit) {
    await visit.open(`${SHOP}/plain.html`)
    await visit.sent(5)
    await visit.context.setOffline(true)
    await visit.run(() => {
      window.analytics.track('Said Offline', { n: 1 })
      window.analytics.track('Said Offline', { n: 2 })
    })
    const before = visit.posts().length
    await visit.context.setOffline(false)
    await visit.sent(7)
    return { before }
  },

  async blocked (visit) {
    const isBlocked = (url) => url.pathname === '/v1/t' || url.pathname.includes('analytics')
    await visit.context.route(isBlocked, (route) => route.abort('blockedbyclient'))
    await visit.open(`${SHOP}/short.html`)
    await visit.sent(5)
    await visit.run(() => window.analytics.track('Said Later'))
    await visit.sent(6)
  },

  async unready (visit) {
    let asked = 0
    await visit.context.route('**/v1/p', (route) => {
      asked += 1
      if (asked > 1) return route.continue()
      return route.fulfill({ status: 503, body: '{}', contentType: 'application/json' })
    })
    await visit.open(`${SHOP}/plain.html`)
    await visit.sent(5)
  },

  async quiet (visit) {
    await visit.context.route('**/v1/t', (route) => route.abort('blockedbyclient'))
    await visit.open(`${SHOP}/quiet.html`)
    await visit.sent(4)
    await visit.until(
      () => visit.posts().some((each) => each.status === -1), 'the blocked one has failed'
    )
  },

  async reloaded (visit) {
    await visit.open(`${SHOP}/plain.html`)
    await visit.sent(5)
    writeFileSync(STORY_HOLD, '')
    await visit.run(() => {
      window.analytics.track('Said Before', { n: 1 })
      window.analytics.track('Said Before', { n: 2 })
    })
    // The shop's server makes a mark for each answer that it keeps back: the node has those events.
    await visit.until(() => readFileSync(STORY_HOLD).length === 2, 'both are stored')
    await visit.open(`${SHOP}/plain.html?again`)
    rmSync(STORY_HOLD)
    await visit.sent(5 + 5 + 2)
  },

  async foreign (visit) {
    await visit.open(`${OTHER}/subdomain.html`)
    await visit.until(
      () => visit.posts().filter((each) => each.status === 403).length >= 5, 'all are refused'
    )
  }
}

await tellStories(stories)
