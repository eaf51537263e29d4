# Own uid and gid of the service. The ids 2900 to 2999 and 5000 to 5999 are the vendor's to give.
[AID_VENDOR_DMABUF_LOADER]
value: 2950
