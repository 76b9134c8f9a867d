"""rudder-sdk-python as its users write it: gzip is on unless they turn it off."""

import rudderstack.analytics as rudder_analytics
from story import Story

story = Story("rudder-sdk-python")
rudder_analytics.write_key = story.write_key
rudder_analytics.dataPlaneUrl = story.host
rudder_analytics.on_error = story.on_error
story.tell(rudder_analytics)
rudder_analytics.shutdown()
story.report()
