import * as z from 'zod'
import { Sha256 } from './fields.ts'
import { ProjectFolder } from './run-config.ts'
import { MOST_NAMED } from './snapshots.ts'

const count = z.int().nonnegative()
/** From the project. */
const paths = z.array(z.string()).max(MOST_NAMED).readonly()

/** A copy of a project, made for one run. */
export const ProjectCopied = z.strictObject({
  /** Where the copy is. */
  project: ProjectFolder,
  /** Of regular files, as far as they were copied. */
  files: count,
  bytes: count,
  /** What is not in the copy, because it could not be read or is no file, folder or link, or by the rule of the request. */
  not_copied: paths.exactOptional(),
  /** The snapshot of the origin whose files the copy got. */
  snapshot: z
    .strictObject({ run_id: z.string(), seq: count, tree: Sha256 })
    .readonly()
    .exactOptional(),
  /** Files of that snapshot whose content is gone (over the limit, redacted), and files that it left out, which are as they are now. */
  not_restored: paths.exactOptional(),
})
export type ProjectCopied = z.infer<typeof ProjectCopied>

/** A file that was written or removed. */
export const CarriedFile = z
  .strictObject({ path: z.string(), action: z.enum(['write', 'delete', 'mode']) })
  .readonly()
export type CarriedFile = z.infer<typeof CarriedFile>

const carried = {
  /**
   * Those in which the trees differ and that are as in the second one now; the first of them, in the order of their paths, and how many
   * there are.
   */
  files: z.array(CarriedFile).max(MOST_NAMED).readonly(),
  count,
  /** What could not be carried, because its content is gone or snapshots leave it out. */
  not_carried: paths.exactOptional(),
  reason: z.string().exactOptional(),
}

/** What a run did in its copy, carried over to the project. */
export const ChangesApplied = z.strictObject({
  as: z.enum(['files', 'patch', 'branch']),
  /** The trees of the snapshots between which it changed. */
  from_tree: Sha256,
  to_tree: Sha256,
  ...carried,
  /** With `branch`: its name, and the commit that it was made to name. */
  branch: z.string().exactOptional(),
  commit: z.string().exactOptional(),
})
export type ChangesApplied = z.infer<typeof ChangesApplied>

/** Files of the project of a run that are what they were at an earlier snapshot. */
export const FilesRolledBack = z.strictObject({
  /** The seq of that snapshot, and its tree. */
  to: count,
  to_tree: Sha256,
  ...carried,
})
export type FilesRolledBack = z.infer<typeof FilesRolledBack>
