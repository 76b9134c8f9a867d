/* @metrixorg/websdk as a page uses it: its hosts are fixed in its code, so the network is led. */

import { readFileSync, writeFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { openPage, redirect } from './browser.js'

const QUIET_MS = 1800 // the SDK waits 300 ms for more changes, then a second for more messages
const PATIENCE_MS = 20_000

redirect(Number(process.env.STORY_PORT))
const { parcels, kept } = openPage()
console.info = console.warn = console.error = () => {}
const sdk = await import('@metrixorg/websdk')

/* Wait until the SDK has sent what it was told, and an answer came or was lost. */
async function settle () {
  await pause(QUIET_MS)
  for (let waited = 0; parcels.some((parcel) => parcel.status === 0) && waited < PATIENCE_MS; waited += 50) await pause(50)
}

async function browse () {
  sdk.init(process.env.STORY_APP, process.env.STORY_KEY, { push: { enabled: true, publicKey: 'BPub' } })
  await settle()
  sdk.newEvent('aewqd', { page: 'start' })
  await settle()
  sdk.authorizeUser('u-web')
  sdk.newEvent('aewqd', { page: 'محصول', emoji: '👩🏽‍💻' })
  sdk.newEvent('taqsq', { total: '12' })
  await settle()
}

/* All changes of one page load leave under one id and one time. */
async function changeProfile () {
  sdk.setFirstName('Maryam')
  sdk.setLastName('Ahmadi')
  sdk.setPhoneNumber('09121122333')
  sdk.setHashedPhoneNumber('ab12')
  sdk.setEmail('m@a.example')
  sdk.setHashedEmail('cd34')
  sdk.setCountry('IR')
  sdk.setRegion('Tehran')
  sdk.setLocality('Vanak')
  sdk.setGender('female')
  sdk.setBirthday(733908600000)
  sdk.setCustomUserId('c-1')
  sdk.setCustomAttribute('role', 'owner')
  await settle()
  for (const city of ['Tehran', 'Shiraz', 'Tabriz']) {
    sdk.setCity(city)
    await settle()
  }
}

/* An answer gets lost: the SDK keeps its messages, and sends them again with the next ones. */
async function loseAnAnswer () {
  sdk.newEvent('aewqd', { page: 'lost' })
  await settle()
  sdk.newEvent('aewqd', { page: 'after' })
  await settle()
  sdk.deauthorizeUser()
  sdk.newEvent('aewqd', { page: 'signed out' })
  await settle()
}

await browse()
if (process.env.STORY === 'calls') {
  await changeProfile()
  await loseAnAnswer()
}
const manifest = new URL('node_modules/@metrixorg/websdk/package.json', import.meta.url)
const told = { version: JSON.parse(readFileSync(manifest)).version, parcels, kept: Object.fromEntries(kept) }
writeFileSync(process.env.STORY_REPORT, JSON.stringify(told))
process.exit(0) // the SDK's own timers of retries would keep it alive
