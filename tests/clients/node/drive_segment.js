/* @segment/analytics-node as its users write it. */

import { Analytics } from '@segment/analytics-node'
import { Story } from './story.js'

const story = new Story('@segment/analytics-node')
const analytics = new Analytics({ writeKey: story.writeKey, host: story.host })
analytics.on('error', (error) => story.onError(error))
analytics.on('http_request', () => { story.requests += 1 })
await story.tell(analytics)
await analytics.closeAndFlush({ timeout: 200_000 })
story.report()
