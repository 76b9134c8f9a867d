/* A visit to pages with a real Chromium, in a profile of its own, which is empty; and how stories of
   such visits are told.

   All host names are found at STORY_PORT. What a story waits for is true or it fails: no story
   sleeps. */

import { writeFileSync } from 'node:fs'
import { chromium } from 'playwright-core'

const { BROWSER, STORIES, STORY_PORT, STORY_REPORT } = process.env
const PATIENCE_MS = 60_000

export const SHOP = 'https://www.shop.example'
export const EVENTS = 'https://events.shop.example'
export const OTHER = 'https://www.other.example'

class Visit {
  constructor (context) {
    this.context = context
    this.requests = []
    this.errors = []
    const seen = new Map()
    context.on('request', (request) => {
      const noted = {
        url: request.url(), method: request.method(), headers: request.headers(), body: request.postData()
      }
      seen.set(request, noted)
      this.requests.push(noted)
    })
    context.on('response', (answer) => {
      seen.get(answer.request()).status = answer.status()
    })
    // A page that goes may cut an answer short whose status was seen: the node has the event then.
    context.on('requestfailed', (request) => { seen.get(request).status ??= -1 })
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

  /* The answers to the requests whose address holds this text. */
  statuses (path) {
    return this.requests.filter((each) => each.url.includes(path)).map((each) => each.status)
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

async function tell (browser, story) {
  const context = await browser.newContext()
  const visit = new Visit(context)
  try {
    const said = await story(visit) ?? {}
    const cookies = await visit.cookies()
    return { said, cookies, errors: visit.errors, requests: visit.requests }
  } catch (error) {
    return { failed: String(error.stack ?? error) }
  } finally {
    await context.close()
  }
}

/* Tell the stories of STORIES one after the other, or all at once, and say what was seen and sent. */
export async function tellStories (stories, { areTogether = false } = {}) {
  const browser = await chromium.launch({
    executablePath: BROWSER,
    args: [
      '--no-sandbox', '--disable-gpu', `--host-resolver-rules=MAP * 127.0.0.1:${STORY_PORT}`,
      '--ignore-certificate-errors' // of a page alone it would not hold for what outlives the page
    ]
  })
  const told = { version: browser.version(), stories: {} }
  const tellOne = async (name) => { told.stories[name] = await tell(browser, stories[name]) }
  const names = STORIES.split(' ')
  if (areTogether) await Promise.all(names.map(tellOne))
  else for (const name of names) await tellOne(name)
  await browser.close()
  writeFileSync(STORY_REPORT, JSON.stringify(told))
}
