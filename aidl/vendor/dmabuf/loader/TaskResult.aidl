// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

import vendor.dmabuf.loader.LoadResult;
import vendor.dmabuf.loader.SaveResult;

/**
 * The result of a task.
 */
@VintfStability
union TaskResult {
    /**
     * That of IDmaBufLoader.startLoad(): what load() returns.
     */
    LoadResult load;
    /**
     * That of IDmaBufLoader.startSave(): what save() returns.
     */
    SaveResult save;
}
