// SPDX-License-Identifier: GPL-2.0-only
/*
 * An exporter of dma-bufs for tests: user space can take the memory away while the buffer is
 * mapped, as it can with the purgeable buffers of GPU drivers.
 */

#include <linux/dma-buf.h>
#include <linux/err.h>
#include <linux/fcntl.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include "vts_dma_buf_exporter.h"

/* More than a test needs. */
#define MAX_LEN SZ_64M

/**
 * struct purgeable - the memory of a buffer
 * @memory: zeroed, of the buffer's length
 * @purged: no page may be mapped any more
 */
struct purgeable {
	void *memory;
	bool purged;
};

static vm_fault_t purgeable_fault(struct vm_fault *vmf)
{
	struct purgeable *purgeable = vmf->vma->vm_private_data;
	struct page *page;

	if (READ_ONCE(purgeable->purged))
		return VM_FAULT_SIGBUS;
	page = vmalloc_to_page(purgeable->memory + (vmf->pgoff << PAGE_SHIFT));
	get_page(page);
	vmf->page = page;
	return 0;
}

static const struct vm_operations_struct purgeable_vm_ops = {
	.fault = purgeable_fault,
};

static int purgeable_mmap(struct dma_buf *buffer, struct vm_area_struct *vma)
{
	vm_flags_set(vma, VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_ops = &purgeable_vm_ops;
	vma->vm_private_data = buffer->priv;
	return 0;
}

/* No importer is there to see the memory. */
static struct sg_table *purgeable_map(struct dma_buf_attachment *attachment,
				      enum dma_data_direction direction)
{
	return ERR_PTR(-EOPNOTSUPP);
}

static void purgeable_unmap(struct dma_buf_attachment *attachment, struct sg_table *table,
			    enum dma_data_direction direction)
{
}

static void purgeable_release(struct dma_buf *buffer)
{
	struct purgeable *purgeable = buffer->priv;

	vfree(purgeable->memory);
	kfree(purgeable);
}

static const struct dma_buf_ops purgeable_ops = {
	.map_dma_buf = purgeable_map,
	.unmap_dma_buf = purgeable_unmap,
	.mmap = purgeable_mmap,
	.release = purgeable_release,
};

static struct dma_buf *export_purgeable(size_t len)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct purgeable *purgeable;
	struct dma_buf *buffer;

	purgeable = kzalloc(sizeof(*purgeable), GFP_KERNEL);
	if (!purgeable)
		return ERR_PTR(-ENOMEM);
	purgeable->memory = vmalloc_user(len);
	if (!purgeable->memory) {
		kfree(purgeable);
		return ERR_PTR(-ENOMEM);
	}
	info.ops = &purgeable_ops;
	info.size = len;
	info.flags = O_RDWR;
	info.priv = purgeable;
	buffer = dma_buf_export(&info);
	if (IS_ERR(buffer)) {
		vfree(purgeable->memory);
		kfree(purgeable);
	}
	return buffer;
}

static long export_ioctl(struct vts_exporter_export __user *user)
{
	struct vts_exporter_export args;
	struct dma_buf *buffer;

	if (copy_from_user(&args, user, sizeof(args)))
		return -EFAULT;
	if (args.reserved || !args.len || args.len > MAX_LEN || !PAGE_ALIGNED(args.len))
		return -EINVAL;
	buffer = export_purgeable(args.len);
	if (IS_ERR(buffer))
		return PTR_ERR(buffer);
	args.dmabuf_fd = dma_buf_fd(buffer, O_CLOEXEC);
	if (args.dmabuf_fd < 0) {
		dma_buf_put(buffer);
		return args.dmabuf_fd;
	}
	/* The process has its fd by now, and closes it when it ends. */
	return copy_to_user(user, &args, sizeof(args)) ? -EFAULT : 0;
}

static long purge_ioctl(const __s32 __user *user)
{
	struct purgeable *purgeable;
	struct dma_buf *buffer;
	long ret = 0;
	__s32 fd;

	if (get_user(fd, user))
		return -EFAULT;
	buffer = dma_buf_get(fd);
	if (IS_ERR(buffer))
		return PTR_ERR(buffer);
	if (buffer->ops == &purgeable_ops) {
		purgeable = buffer->priv;
		WRITE_ONCE(purgeable->purged, true);
		unmap_mapping_range(buffer->file->f_mapping, 0, 0, 1);
	} else {
		ret = -EINVAL;
	}
	dma_buf_put(buffer);
	return ret;
}

static long exporter_ioctl(struct file *file, unsigned int request, unsigned long argument)
{
	void __user *user = (void __user *)argument;

	switch (request) {
	case VTS_EXPORTER_EXPORT:
		return export_ioctl(user);
	case VTS_EXPORTER_PURGE:
		return purge_ioctl(user);
	default:
		return -ENOTTY;
	}
}

static const struct file_operations exporter_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = exporter_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice exporter_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "vts_dma_buf_exporter",
	.fops = &exporter_fops,
};
module_misc_device(exporter_device);

MODULE_DESCRIPTION("Exporter of dma-bufs for tests");
MODULE_LICENSE("GPL");
#ifdef MODULE
MODULE_IMPORT_NS(DMA_BUF);
#endif
