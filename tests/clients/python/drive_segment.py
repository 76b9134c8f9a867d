"""segment-analytics-python as its users write it."""

import segment.analytics as analytics
from story import Story

story = Story("segment-analytics-python")
analytics.write_key = story.write_key
analytics.host = story.host
analytics.on_error = story.on_error
story.tell(analytics)
analytics.shutdown()
story.report()
