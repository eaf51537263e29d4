// SPDX-License-Identifier: Apache-2.0
package vendor.dmabuf.loader;

import vendor.dmabuf.loader.TaskProgress;
import vendor.dmabuf.loader.TaskResult;

/**
 * A load or a save that the service runs while its client goes on.
 *
 * The task ends when its last reference is dropped, also by the death of the client: the service
 * then cancels it and frees what it holds. Every method may be called from several threads.
 */
@RequiresNoPermission
@VintfStability
interface ILoadTask {
    /**
     * Asks the service to end the task. A task that waits in the queue ends at once, one that runs
     * after the call to the kernel that it is in, and one that has ended stays as it is.
     * takeResult() then throws LoaderError.CANCELLED, unless the task had its result before.
     */
    void cancel();

    /**
     * Waits until the task has ended. The service lets few calls wait at a time: it may return
     * earlier than the timeout although the task has not ended, and then the client calls again or
     * relies on its ILoadCallback.
     *
     * @param timeoutMillis the longest time to wait, 0 or more milliseconds.
     * @return whether the task has ended.
     * @throws ServiceSpecificException with LoaderError.BAD_ARGUMENT if the timeout is negative.
     */
    boolean waitFor(long timeoutMillis);

    /**
     * Reports how far the task has come. It does not wait.
     *
     * @return the progress.
     */
    TaskProgress getProgress();

    /**
     * Returns the result, which the service hands out once. It does not wait.
     *
     * @return the result of the load or the save.
     * @throws ServiceSpecificException with
     *     LoaderError.NOT_ENDED if the task has not ended;
     *     LoaderError.RESULT_TAKEN if a call has returned or thrown the outcome before;
     *     any other code of LoaderError with which load() or save() would fail.
     */
    TaskResult takeResult();
}
