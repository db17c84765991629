"""Is the benchmark valid? Its scores against known circuits, against wrong submissions and against themselves."""
