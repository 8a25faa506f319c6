"""SCSI device-type emulation engine."""
