/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
#ifndef VTS_DMA_BUF_IMPORTER_H
#define VTS_DMA_BUF_IMPORTER_H

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * enum vts_importer_view - how an importer finds the memory of a buffer
 * @VTS_IMPORTER_SG_PAGES: by the pages that sg_page_iter gives, as many GPU drivers do
 * @VTS_IMPORTER_DMA: by the DMA addresses of the scatterlist, as a device does
 * @VTS_IMPORTER_VMAP: by the exporter's vmap, as videobuf2-vmalloc and vkms do
 */
enum vts_importer_view {
	VTS_IMPORTER_SG_PAGES,
	VTS_IMPORTER_DMA,
	VTS_IMPORTER_VMAP,
};

/**
 * struct vts_importer_read - bytes of a dma-buf as an importer sees them
 * @bytes: address of the user memory that gets them
 * @offset: first byte in the buffer
 * @len: in: how many bytes; out: how many the view holds, at most as many
 * @dmabuf_fd: the buffer
 * @view: one of &enum vts_importer_view
 * @sg_entries: out: entries of the scatterlist, 0 for %VTS_IMPORTER_VMAP
 * @reserved: 0
 */
struct vts_importer_read {
	__u64 bytes;
	__u64 offset;
	__u64 len;
	__s32 dmabuf_fd;
	__u32 view;
	__u32 sg_entries;
	__u32 reserved;
};

#define VTS_IMPORTER_READ	_IOWR('i', 0xd0, struct vts_importer_read)

#endif
