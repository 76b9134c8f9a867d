/* analytics-node as its users write it. */

import Analytics from 'analytics-node'
import { Story } from './story.js'

const story = new Story('analytics-node')
const analytics = new Analytics(story.writeKey, {
  host: story.host,
  retryCount: story.retries,
  errorHandler: (error) => story.onError(error)
})
await story.tell(analytics)
await story.settle(() => analytics.flush())
story.report()
