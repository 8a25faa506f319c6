"""transports/iscsi"""
