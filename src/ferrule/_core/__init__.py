"""The ground floor: what every primitive stands on. It has no public name and knows no primitive."""
