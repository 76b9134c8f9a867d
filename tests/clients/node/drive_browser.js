/* Visits pages with a real Chromium, as a visitor does, and says what it saw and sent.

   The stories of STORIES are told one after the other, each in a profile of its own, which is
   empty. All host names are found at STORY_PORT. What a story waits for is true or it fails: no
   story sleeps. */

import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { chromium } from 'playwright-core'

const { BROWSER, STORIES, STORY_PORT, STORY_REPORT, STORY_HOLD } = process.env
const PATIENCE_MS = 60_000
const SHOP = 'https://www.shop.example'
const EVENTS = 'https://events.shop.example'
const OTHER = 'https://www.other.example'

class Visit {
  constructor (context) {
    this.context = context
    this.requests = []
    this.errors = []
    const seen = new Map()
    context.on('request', (request) => {
      const noted = { url: request.url(), method: request.method(), body: request.postData() }
      seen.set(request, noted)
      this.requests.push(noted)
    })
    context.on('response', (answer) => {
      seen.get(answer.request()).status = answer.status()
    })
    context.on('requestfailed', (request) => { seen.get(request).status = -1 })
  }

  async open (url) {
    this.page = this.page ?? await this.newPage()
    await this.page.goto(url)
  }

  async newPage () {
    const page = await this.context.newPage()
    page.setDefaultTimeout(PATIENCE_MS)
    page.on('console', (message) => {
      if (message.type() === 'error') this.errors.push(message.text())
    })
    page.on('pageerror', (error) => this.errors.push(String(error)))
    return page
  }

  posts () {
    return this.requests.filter((each) => each.method === 'POST')
  }

  async until (isTrue, what) {
    const end = Date.now() + PATIENCE_MS
    while (!await isTrue()) {
      if (Date.now() > end) {
        throw new Error(`not in time: ${what}; ${JSON.stringify(this.summary())}`)
      }
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  summary () {
    return [this.errors, this.requests.map((each) => [each.method, each.url, each.status])]
  }

  /* Wait until so many posts were answered with a yes. */
  sent (count) {
    const yes = () => this.posts().filter((each) => each.status === 200).length
    return this.until(() => yes() >= count, `${count} events are sent`)
  }

  run (work, said) {
    return this.page.evaluate(work, said)
  }

  started () {
    return this.until(() => this.run(() => !Array.isArray(window.analytics)), 'it has started')
  }

  anonymousId () {
    return this.run(() => window.analytics.user().anonymousId())
  }

  async forgetWhatScriptsWrote () {
    await this.run(() => window.localStorage.clear())
    await this.context.clearCookies({ name: /^ajs_/ })
  }

  cookies () {
    return this.context.cookies()
  }
}

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

async function tell (browser, name) {
  const context = await browser.newContext({ ignoreHTTPSErrors: true })
  const visit = new Visit(context)
  try {
    const said = await stories[name](visit) ?? {}
    const cookies = await visit.cookies()
    return { said, cookies, errors: visit.errors, requests: visit.requests }
  } catch (error) {
    return { failed: String(error.stack ?? error) }
  } finally {
    await context.close()
  }
}

const browser = await chromium.launch({
  executablePath: BROWSER,
  args: ['--no-sandbox', '--disable-gpu', `--host-resolver-rules=MAP * 127.0.0.1:${STORY_PORT}`]
})
const told = { version: browser.version(), stories: {} }
for (const name of STORIES.split(' ')) told.stories[name] = await tell(browser, name)
await browser.close()
writeFileSync(STORY_REPORT, JSON.stringify(told))
