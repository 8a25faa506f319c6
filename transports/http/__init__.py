"""HTTP: a CDB by curl, units and operations as JSON, metrics."""
