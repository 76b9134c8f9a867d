/* What RudderStack's page library needs of a page beside ./browser.js: a document with cookies, a
   place, XMLHttpRequest and beacons. Requests go out through `send`, which keeps CORS as a browser. */

const PLACE = 'https://shop.example/cart?utm_source=mail'

/* Put them into place. Returns what the page has sent, and what came of it. */
export function openDocument (send) {
  const parcels = []
  const deliver = async (method, url, headers, body) => {
    const parcel = { method, url, headers, body: await textOf(body), status: 0 }
    parcels.push(parcel)
    try {
      const answer = await send(url, { method, headers, body: method === 'GET' ? undefined : parcel.body })
      parcel.status = answer.status
      return answer
    } catch (error) {
      parcel.status = -1
      throw error
    }
  }
  define('location', new URL(PLACE))
  define('document', makeDocument())
  define('requestAnimationFrame', (draw) => setTimeout(draw, 16))
  define('cancelAnimationFrame', clearTimeout)
  define('XMLHttpRequest', makeRequestClass(deliver))
  listen(globalThis)
  globalThis.navigator.onLine = true
  globalThis.navigator.sendBeacon = (url, body) => {
    deliver('POST', url, { 'content-type': body.type }, body).catch(() => {})
    return true
  }
  return parcels
}

/* The page is hidden, as it is when its user goes away. */
export function leavePage () {
  globalThis.document.visibilityState = 'hidden'
  globalThis.document.dispatchEvent(new Event('visibilitychange'))
  globalThis.dispatchEvent(new Event('pagehide'))
}

function makeDocument () {
  const cookies = new Map()
  const made = listen({
    title: 'فروشگاه',
    referrer: '',
    characterSet: 'UTF-8',
    readyState: 'complete',
    visibilityState: 'visible',
    head: element(),
    body: element(),
    documentElement: element(),
    location: globalThis.location,
    createElement: (name) => name === 'a' ? new URL(PLACE) : element(),
    getElementsByTagName: () => [],
    querySelector: () => null,
    querySelectorAll: () => [],
    getElementById: () => null
  })
  Object.defineProperty(made, 'cookie', {
    get: () => [...cookies].map(([name, value]) => `${name}=${value}`).join('; '),
    set: (line) => {
      const [pair, ...more] = line.split(';')
      const [name, ...value] = pair.split('=')
      const ends = more.map((each) => each.trim()).find((each) => /^expires=/i.test(each))
      if (ends && new Date(ends.slice(8)) < new Date()) cookies.delete(name.trim())
      else cookies.set(name.trim(), value.join('='))
    }
  })
  return made
}

function element () {
  const dataset = {}
  const setAttribute = (name, value) => {
    if (name.startsWith('data-')) dataset[name.slice(5).replace(/-(.)/g, (_, letter) => letter.toUpperCase())] = value
  }
  return { dataset, setAttribute, appendChild () {}, insertBefore () {} }
}

function makeRequestClass (deliver) {
  return class {
    headers = {}
    status = 0
    responseText = ''
    open (method, url) { Object.assign(this, { method, url }) }
    setRequestHeader (name, value) { this.headers[name] = String(value) }
    async send (body) {
      try {
        const answer = await deliver(this.method, this.url, this.headers, body ?? '')
        this.responseText = this.response = await answer.text()
        this.status = answer.status
        this.statusText = answer.statusText
      } catch (error) {
        this.onerror?.({ type: 'error' })
        return
      }
      this.onload?.({ type: 'load' })
    }
  }
}

function listen (target) {
  const heard = new EventTarget()
  for (const name of ['addEventListener', 'removeEventListener', 'dispatchEvent']) {
    target[name] = heard[name].bind(heard)
  }
  return target
}

async function textOf (body) {
  return body instanceof Blob ? body.text() : String(body ?? '')
}

function define (name, value) {
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true })
}
