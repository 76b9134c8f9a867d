// Starts the library of trunkline/assets/analytics_js on a page, for one app.
//
// An expression: a function of the app's configuration and of the library, which is a function
// that runs the published file. Everything goes to where this script came from, below its prefix,
// so a proxy, another name or another port need no setting. No eval, nothing inline, no cookie or
// storage of its own.
(function (config, library) {
  'use strict'

  const KEY = encodeURIComponent(config.writeKey)
  const NAMES = '(?:analytics\\.js/v1/[^/]+/analytics\\.min\\.js|s/[^/]+\\.js)'
  const ADDRESS = new RegExp('^(https?://.*?)/' + NAMES + '(?:[?#]|$)')
  const OWN_ID = 'ajs_anonymous_id' // the library's name, in cookie and storage
  const METHODS = [
    'trackSubmit', 'trackClick', 'trackLink', 'trackForm', 'pageview', 'identify', 'reset', 'group',
    'track', 'ready', 'alias', 'debug', 'page', 'screen', 'once', 'off', 'on', 'register',
    'deregister', 'user', 'setAnonymousId', 'addSourceMiddleware', 'addIntegrationMiddleware',
    'addDestinationMiddleware'
  ]

  const script = findScript()
  const address = script && ADDRESS.exec(script.src)
  const root = address ? address[1] : window.location.origin
  const name = (script && script.dataset.globalSegmentAnalyticsKey) || 'analytics'
  const given = window[name]
  if (given && (!Array.isArray(given) || given.isStarted)) return // a second tag on the page
  const stub = given || []
  const options = readOptions()
  const isKept = options.disableClientPersistence !== true && options.disable !== true
  let isSecondBetter = false

  makeStub()
  const AnalyticsBrowser = runLibrary()
  restoreId()
    .then(() => AnalyticsBrowser.load(
      { writeKey: config.writeKey, cdnURL: root, cdnSettings: makeSettings() }, options
    ))
    .then((loaded) => {
      const analytics = loaded[0]
      // Who is signed out gets a new id at once: an absent one would be restored.
      if (analytics.on) analytics.on('reset', () => analytics.user().anonymousId())
      window[name] = analytics
    })
    .catch((error) => console.error('[analytics.js] did not start:', error))

  function findScript() {
    const current = document.currentScript
    if (current && ADDRESS.test(current.src)) return current
    return Array.from(document.scripts).find(
      (each) => ADDRESS.test(each.src) && each.src.indexOf(KEY) !== -1
    )
  }

  function readOptions() {
    const options = Object.assign({}, stub._loadOptions)
    if (name !== 'analytics') options.globalAnalyticsKey = name
    if (script && script.dataset.initialPageview !== undefined) options.initialPageview = true
    return options
  }

  // Calls before the library runs wait in the array, as they do with the usual snippet.
  function makeStub() {
    stub.isStarted = true
    window[name] = stub
    METHODS.filter((method) => !stub[method]).forEach((method) => {
      stub[method] = function () {
        const called = Array.from(arguments)
        const analytics = window[name]
        if (analytics !== stub) return analytics[method].apply(analytics, called)
        stub.push([method].concat(called))
        return stub
      }
    })
  }

  // The library asks a global for `_cdn`, below which its parts are, and another one for `fetch`.
  function runLibrary() {
    const module = { exports: {} }
    const had = Object.getOwnPropertyDescriptor(window, 'analytics')
    window.analytics = { _cdn: root }
    try {
      library(module.exports, module, undefined, { fetch: send })
    } finally {
      if (had) Object.defineProperty(window, 'analytics', had)
      else delete window.analytics
    }
    return module.exports.AnalyticsBrowser
  }

  function makeSettings() {
    const settings = config.settings
    const service = settings.integrations['Segment.io']
    const parts = root.split('://')
    service.protocol = parts[0]
    service.apiHost = parts[1] + '/v1'
    return settings
  }

  // Every request of the library. What a blocker stops on one path goes by the other one: the
  // event keeps its messageId, so a node that got it twice stores it once.
  function send(url, request) {
    if (url.indexOf(root + '/') !== 0) {
      return Promise.reject(new TypeError('this script sends to ' + root + ' only, not to ' + url))
    }
    const init = Object.assign({}, request)
    if (config.cookie) init.credentials = isKept ? 'include' : 'omit'
    const first = (to) => window.fetch(to, init)
    const second = config.secondPath && findSecond(url)
    if (!second) return first(url)
    const ways = isSecondBetter ? [second, url] : [url, second]
    return first(ways[0]).catch((error) => {
      if (navigator.onLine === false) throw error
      return first(ways[1]).then((answer) => {
        isSecondBetter = !isSecondBetter
        return answer
      })
    })
  }

  function findSecond(url) {
    const way = /\/v1\/([a-z])$/.exec(url)
    return way && root + '/s/' + (way[1] === 'b' ? 'b' : 'e')
  }

  // Browsers forget what scripts wrote, after a week or sooner; the server's cookie stays.
  function restoreId() {
    if (!config.cookie || !isKept || hasOwnId()) return Promise.resolve()
    const url = root + '/s/' + KEY + '/visitor'
    const asked = window.fetch(url, { credentials: 'include', cache: 'no-store' })
      .then((answer) => (answer.ok ? answer.json() : {}))
      .then((visitor) => {
        if (visitor.anonymousId && !hasOwnId()) {
          stub.unshift(['setAnonymousId', visitor.anonymousId]) // what the page sets comes after it
        }
      })
      .catch(() => {}) // then it is a new visitor
    const waited = new Promise((resolve) => setTimeout(resolve, config.visitorWaitMs))
    return Promise.race([asked, waited])
  }

  function hasOwnId() {
    try {
      if (new RegExp('(?:^|; )' + OWN_ID + '=[^;]').test(document.cookie)) return true
      const kept = window.localStorage.getItem(OWN_ID)
      return kept !== null && kept !== 'null'
    } catch (error) {
      return false // a page in a sandbox may have neither
    }
  }
})
