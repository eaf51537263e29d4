// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

import vendor.dmabuf.loader.LoaderError;
import vendor.dmabuf.loader.TaskProgress;

/**
 * Is told of a task. The service does not wait for it, and drops calls that the client does not
 * take in time: ILoadTask always has the truth.
 */
@RequiresNoPermission
@VintfStability
oneway interface ILoadCallback {
    /**
     * The task has come this far. At most ten calls a second.
     *
     * @param progress how far.
     */
    void onProgress(in TaskProgress progress);

    /**
     * The task has its result: ILoadTask.takeResult() returns it. The last call.
     */
    void onCompleted();

    /**
     * The task has failed, or was cancelled. ILoadTask.takeResult() throws the same. The last call.
     *
     * @param error the code.
     * @param message for people.
     */
    void onFailed(in LoaderError error, in @utf8InCpp String message);
}
