/* @rudderstack/rudder-sdk-node as its users write it: gzip is on unless they turn it off. */

import RudderAnalytics from '@rudderstack/rudder-sdk-node'
import { Story } from './story.js'

const story = new Story('@rudderstack/rudder-sdk-node')
const analytics = new RudderAnalytics(story.writeKey, {
  dataPlaneUrl: story.host,
  retryCount: story.retries,
  errorHandler: (error) => story.onError(error)
})
await story.tell(analytics)
await story.settle(() => analytics.flush())
story.report()
