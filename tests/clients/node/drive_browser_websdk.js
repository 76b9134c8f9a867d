/* Visits a page with the vendor's own web SDK, at once for all stories, and says what it saw. */

import { SHOP, tellStories } from './visit.js'

const ENTRY = 'https://entry.metrix.ir'
const PAGE = `${SHOP}/websdk.html`
const UNREADY = { status: 503, body: '{}', headers: { 'Access-Control-Allow-Origin': '*' } }

/* Wait until a request with this event was answered with a yes. */
function taken (visit, n) {
  const isYes = (each) => each.status === 200 && each.body?.includes(`"n":"${n}"`)
  return visit.until(() => visit.posts().some(isYes), `event ${n} is taken`)
}

function failed (visit) {
  const toEntry = (each) => each.url.startsWith(ENTRY)
  return visit.until(
    () => visit.posts().some((each) => toEntry(each) && each.status === -1), 'it has failed'
  )
}

/* As it starts, the SDK asks who its user is. */
async function open (visit) {
  await visit.open(PAGE)
  await visit.until(() => visit.statuses('/identity').includes(200), 'its user is known')
}

async function leadNowhere (visit) {
  await visit.context.route(`${ENTRY}/**`, (route) => route.abort('connectionrefused'))
}

const say = (n) => window.say(n)

const stories = {
  async calls (visit) {
    await open(visit)
    await visit.run(say, 10)
    await taken(visit, 10)
    await visit.run(() => {
      window.Metrix.authorizeUser('u-web')
      window.Metrix.setFirstName('مریم')
      window.say(11)
    })
    await taken(visit, 11)
  },

  async unready (visit) {
    await open(visit)
    let asked = 0
    await visit.context.route(`${ENTRY}/**`, (route) => {
      if (route.request().method() !== 'POST' || asked > 0) return route.continue()
      asked += 1
      return route.fulfill(UNREADY)
    })
    await visit.run(say, 20)
    await taken(visit, 20)
  },

  async away (visit) {
    await open(visit)
    await leadNowhere(visit)
    await visit.run(say, 30)
    await failed(visit)
    await visit.context.unrouteAll()
    await visit.run(say, 31)
    await taken(visit, 31)
  },

  async gone (visit) {
    await open(visit)
    await leadNowhere(visit)
    await visit.run(say, 40)
    await failed(visit)
    const kept = () => Object.values({ ...window.localStorage }).join('')
    await visit.until(async () => (await visit.run(kept)).includes('"n":"40"'), 'it is kept')
    await visit.context.unrouteAll()
    await visit.page.reload()
    await visit.run(say, 41)
    await taken(visit, 41)
    return { kept: await visit.run(kept) }
  }
}

await tellStories(stories, { areTogether: true })
