/* As much of a browser as a page's SDK needs, around Node's own network stack.

   What a browser does for a page is done here too: a preflight before the first request to each
   host, an Origin on every request, and no answer for the page unless its CORS headers allow it.
   Host names lead to a port of this machine, below TLS: certificates are judged as ever. */

import tls from 'node:tls'

const ORIGIN = 'https://shop.example'
const USER_AGENT = 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/120.0.0.0 Safari/537.36'
const SUBSCRIPTION = { endpoint: 'https://push.example/1', expirationTime: null, keys: { auth: 'a', p256dh: 'b' } }

/* Lead every TLS connection to a port of this machine. */
export function redirect (port) {
  const connect = tls.connect
  tls.connect = (options, ...more) => connect.call(tls, { ...options, host: '127.0.0.1', port }, ...more)
}

/* Send a request as a page of `openPage` does: with preflight, origin and CORS. */
export let sendAsPage

/* Put a page's globals into place. Returns what the page has sent, and what came of it. */
export function openPage () {
  const parcels = []
  const kept = new Map()
  const subscription = { toJSON: () => SUBSCRIPTION }
  const registration = { pushManager: { getSubscription: async () => subscription } }
  define('window', globalThis)
  define('screen', { width: 1280, height: 720 })
  define('navigator', {
    userAgent: USER_AGENT, language: 'fa-IR', serviceWorker: { getRegistration: async () => registration }
  })
  define('localStorage', {
    getItem: (key) => kept.get(key) ?? null,
    setItem: (key, value) => kept.set(key, String(value)),
    removeItem: (key) => kept.delete(key)
  })
  define('PushManager', class {})
  define('ServiceWorkerRegistration', class { showNotification () {} })
  define('Notification', { permission: 'granted' })
  const send = globalThis.fetch
  sendAsPage = (url, init) => sendAsBrowser(send, url, init)
  define('fetch', async (url, init) => {
    const parcel = { url, body: JSON.parse(init.body), status: 0 }
    parcels.push(parcel)
    try {
      const answer = await sendAsBrowser(send, url, init)
      parcel.status = answer.status
      return answer
    } catch (error) {
      parcel.status = -1
      throw error
    }
  })
  return { parcels, kept }
}

async function sendAsBrowser (send, url, init) {
  const asked = Object.keys(init.headers).map((name) => name.toLowerCase()).filter((name) => name !== 'accept')
  if (!isSimple(init.headers)) await askBefore(send, url, init, asked)
  const own = { Origin: ORIGIN, 'Sec-Fetch-Site': 'cross-site', 'Sec-Fetch-Dest': 'empty', 'User-Agent': USER_AGENT }
  const answer = await send(url, { ...init, headers: { ...init.headers, ...own } })
  if (!isReadable(answer)) throw new TypeError('Failed to fetch: the answer is not for this page')
  return answer
}

/* A beacon of plain text asks for no preflight. */
function isSimple (headers) {
  return Object.entries(headers).every(([name, value]) => name === 'content-type' && value === 'text/plain')
}

async function askBefore (send, url, init, asked) {
  const preflight = await send(url, {
    method: 'OPTIONS',
    headers: {
      Origin: ORIGIN,
      'Access-Control-Request-Method': init.method,
      'Access-Control-Request-Headers': asked.sort().join(',')
    }
  })
  const allowed = (preflight.headers.get('access-control-allow-headers') ?? '').split(/\s*,\s*/)
  if (!preflight.ok || !isReadable(preflight) || !asked.every((name) => allowed.includes(name))) {
    throw new TypeError('Failed to fetch: the preflight says no')
  }
}

function isReadable (answer) {
  return ['*', ORIGIN].includes(answer.headers.get('access-control-allow-origin'))
}

function define (name, value) {
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true })
}
