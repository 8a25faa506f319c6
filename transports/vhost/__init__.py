"""vhost-user-scsi: units for QEMU guests, by virtqueues in the guest's own memory."""
