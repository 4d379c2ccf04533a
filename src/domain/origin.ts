import * as z from 'zod'
import { Sha256 } from './fields.ts'

/** The run that another one begins from, up to one of its records. */
export const Origin = z
  .strictObject({
    /** `fork`: from any record, in a folder of its own. `continue`: from the last record of a run that has ended. */
    kind: z.enum(['fork', 'continue']),
    run_id: z.string(),
    /** The last record that it takes over. Its hash commits to all records up to it. */
    seq: z.int().nonnegative(),
    hash: Sha256,
  })
  .readonly()
export type Origin = z.infer<typeof Origin>

/** What the protected files were before any agent worked, in the first of runs that begin from each other. */
export const ProtectedStart = z
  .strictObject({
    run_id: z.string(),
    /** The tree of its first snapshot, and the artifact with its list of protected files. */
    tree: Sha256,
    protected: Sha256,
  })
  .readonly()
export type ProtectedStart = z.infer<typeof ProtectedStart>

/** What is known of the origin there that its conversation does not say. */
export const TakenOver = z
  .strictObject({
    /** Whether its agent was shown its project. */
    introduced: z.boolean(),
    /** Where its next `bash_exec` would have started, as a path from the project; left out: in its folder. */
    shell_folder: z.string().exactOptional(),
    /** With what protected files are compared, if the new run has the same goal. */
    start: ProtectedStart.exactOptional(),
  })
  .readonly()
export type TakenOver = z.infer<typeof TakenOver>
