/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
#ifndef VTS_DMA_BUF_EXPORTER_H
#define VTS_DMA_BUF_EXPORTER_H

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * struct vts_exporter_export - a new dma-buf whose memory can be purged
 * @len: bytes of the buffer, a multiple of the page size
 * @dmabuf_fd: out: the buffer
 * @reserved: 0
 */
struct vts_exporter_export {
	__u64 len;
	__s32 dmabuf_fd;
	__u32 reserved;
};

#define VTS_EXPORTER_EXPORT	_IOWR('i', 0xd2, struct vts_exporter_export)

/* Purges the buffer of an fd: whoever touches a mapping of it from now on gets SIGBUS. */
#define VTS_EXPORTER_PURGE	_IOW('i', 0xd3, __s32)

#endif
