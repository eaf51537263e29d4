// SPDX-License-Identifier: GPL-2.0-only
/*
 * An importer of dma-bufs for tests: shows a process the bytes that a device driver would find in
 * a buffer. Whoever may open the node may read any dma-buf it has an fd of, and nothing else.
 */

#include <linux/dma-buf.h>
#include <linux/dma-direct.h>
#include <linux/dma-mapping.h>
#include <linux/highmem.h>
#include <linux/iosys-map.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/scatterlist.h>
#include <linux/uaccess.h>

#include "vts_dma_buf_importer.h"

/**
 * struct window - the part of a buffer that the caller wants
 * @to: where its next byte goes
 * @skip: bytes of the buffer before it that are still to come
 * @left: bytes that are still wanted
 */
struct window {
	u8 __user *to;
	u64 skip;
	u64 left;
};

/* Takes the next @len bytes of the buffer, which are at @from. */
static int take(struct window *window, const u8 *from, size_t len)
{
	size_t skipped = min_t(u64, window->skip, len);
	size_t wanted = min_t(u64, window->left, len - skipped);

	window->skip -= skipped;
	if (copy_to_user(window->to, from + skipped, wanted))
		return -EFAULT;
	window->to += wanted;
	window->left -= wanted;
	return 0;
}

/* As take(), for bytes of one page. */
static int take_page(struct window *window, struct page *page, size_t offset, size_t len)
{
	u8 *mapped;
	int ret;

	if (window->skip >= len) {
		window->skip -= len;
		return 0;
	}
	mapped = kmap_local_page(page);
	ret = take(window, mapped + offset, len);
	kunmap_local(mapped);
	return ret;
}

/* Walks pages as drm_prime_sg_to_page_array() does: page i of the walk is page i of the buffer. */
static int take_sg_pages(struct window *window, struct sg_table *table)
{
	struct sg_page_iter iter;
	int ret;

	/* Such a kernel hides the pages from importers. */
	if (IS_ENABLED(CONFIG_DMABUF_DEBUG))
		return -EOPNOTSUPP;
	for_each_sgtable_page(table, &iter, 0) {
		if (!window->left || fatal_signal_pending(current))
			break;
		ret = take_page(window, sg_page_iter_page(&iter), 0, PAGE_SIZE);
		if (ret)
			return ret;
	}
	return 0;
}

/* Walks device addresses, which a device without an IOMMU puts on the bus. */
static int take_dma(struct window *window, struct sg_table *table, struct device *dev)
{
	struct scatterlist *entry;
	unsigned int i, done, part;
	phys_addr_t phys;
	int ret;

	if (device_iommu_mapped(dev))
		return -EOPNOTSUPP;
	for_each_sgtable_dma_sg(table, entry, i) {
		for (done = 0; done < sg_dma_len(entry); done += part) {
			if (!window->left || fatal_signal_pending(current))
				return 0;
			phys = dma_to_phys(dev, sg_dma_address(entry) + done);
			part = min_t(unsigned int, sg_dma_len(entry) - done,
				     PAGE_SIZE - offset_in_page(phys));
			if (!pfn_valid(PHYS_PFN(phys)))
				return -EOPNOTSUPP;
			ret = take_page(window, pfn_to_page(PHYS_PFN(phys)), offset_in_page(phys),
					part);
			if (ret)
				return ret;
		}
	}
	return 0;
}

static int read_mapped(struct vts_importer_read *args, struct window *window,
		       struct dma_buf *buffer, struct device *dev)
{
	struct dma_buf_attachment *attachment;
	struct sg_table *table;
	int ret;

	attachment = dma_buf_attach(buffer, dev);
	if (IS_ERR(attachment))
		return PTR_ERR(attachment);
	table = dma_buf_map_attachment_unlocked(attachment, DMA_TO_DEVICE);
	if (IS_ERR(table)) {
		ret = PTR_ERR(table);
		goto detach;
	}
	args->sg_entries = table->orig_nents;
	if (args->view == VTS_IMPORTER_DMA)
		ret = take_dma(window, table, dev);
	else
		ret = take_sg_pages(window, table);
	dma_buf_unmap_attachment_unlocked(attachment, table, DMA_TO_DEVICE);
detach:
	dma_buf_detach(buffer, attachment);
	return ret;
}

static int read_vmapped(struct window *window, struct dma_buf *buffer)
{
	struct iosys_map map;
	int ret;

	ret = dma_buf_vmap_unlocked(buffer, &map);
	if (ret)
		return ret;
	ret = map.is_iomem ? -EOPNOTSUPP : take(window, map.vaddr, buffer->size);
	dma_buf_vunmap_unlocked(buffer, &map);
	return ret;
}

static int read_buffer(struct vts_importer_read *args, struct dma_buf *buffer, struct device *dev)
{
	struct window window = {
		.to = u64_to_user_ptr(args->bytes),
		.skip = args->offset,
		.left = args->len,
	};
	int ret;

	args->sg_entries = 0;
	switch (args->view) {
	case VTS_IMPORTER_SG_PAGES:
	case VTS_IMPORTER_DMA:
		ret = read_mapped(args, &window, buffer, dev);
		break;
	case VTS_IMPORTER_VMAP:
		ret = read_vmapped(&window, buffer);
		break;
	default:
		return -EINVAL;
	}
	args->len -= window.left;
	return ret;
}

static long importer_ioctl(struct file *file, unsigned int request, unsigned long argument)
{
	struct miscdevice *misc = file->private_data;
	struct vts_importer_read __user *user = (void __user *)argument;
	struct vts_importer_read args;
	struct dma_buf *buffer;
	int ret;

	if (request != VTS_IMPORTER_READ)
		return -ENOTTY;
	if (copy_from_user(&args, user, sizeof(args)))
		return -EFAULT;
	if (args.reserved)
		return -EINVAL;
	buffer = dma_buf_get(args.dmabuf_fd);
	if (IS_ERR(buffer))
		return PTR_ERR(buffer);
	ret = read_buffer(&args, buffer, misc->this_device);
	dma_buf_put(buffer);
	if (!ret && copy_to_user(user, &args, sizeof(args)))
		ret = -EFAULT;
	return ret;
}

static const struct file_operations importer_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = importer_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice importer_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "vts_dma_buf_importer",
	.fops = &importer_fops,
};

static struct device_dma_parameters importer_dma_parameters;

static int __init importer_init(void)
{
	int ret;

	ret = misc_register(&importer_device);
	if (ret)
		return ret;
	/* A misc device has neither a mask nor parameters of its own. */
	importer_device.this_device->dma_parms = &importer_dma_parameters;
	dma_set_max_seg_size(importer_device.this_device, UINT_MAX);
	ret = dma_coerce_mask_and_coherent(importer_device.this_device, DMA_BIT_MASK(64));
	if (ret)
		misc_deregister(&importer_device);
	return ret;
}
module_init(importer_init);

static void __exit importer_exit(void)
{
	misc_deregister(&importer_device);
}
module_exit(importer_exit);

MODULE_DESCRIPTION("Importer of dma-bufs for tests");
MODULE_LICENSE("GPL");
#ifdef MODULE
MODULE_IMPORT_NS(DMA_BUF);
#endif
