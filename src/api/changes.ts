import * as z from 'zod'
import { CarriedFile } from '../domain/carried-files.ts'
import { LeftOut } from '../domain/snapshots.ts'

const count = z.int().nonnegative()
const mode = z.enum(['100644', '100755', '120000']).exactOptional()
const Side = z.object({ seq: count.describe('Of the snapshot'), tree: z.string() })

/** GET /api/runs/{run_id}/changes: what happened to the files of the project. */
export const RunChanges = z
  .object({
    run_id: z.uuid(),
    from: Side,
    to: Side,
    files: z.array(
      z.object({
        path: z.string().describe('From the project'),
        old_path: z.string().exactOptional().describe('Where a renamed file was'),
        status: z.enum(['added', 'modified', 'deleted', 'renamed', 'mode']),
        additions: count.describe('Lines; 0 for a binary file'),
        deletions: count,
        binary: z.boolean(),
        old_mode: mode.describe('What it was, if it was or is no plain file'),
        mode: mode.describe('What it is, if it was or is no plain file'),
        old_size: count.exactOptional().describe('Of a binary file before, in bytes'),
        size: count.exactOptional().describe('Of a binary file after, in bytes'),
        withheld: z
          .enum(['not_kept', 'masked'])
          .exactOptional()
          .describe(
            '`masked`: it holds a secret, which the patch shows masked, so that part does not apply. `not_kept`: ' +
              'its content was not kept, so it is not in the patch',
          ),
      }),
    ),
    unknown: z
      .array(z.string())
      .describe(
        'Folders that differ, and of which it is not known how, because their objects were not kept',
      ),
    left_out: z.array(LeftOut).describe('What the later snapshot does not have'),
  })
  .meta({ id: 'RunChanges' })
export type RunChanges = z.infer<typeof RunChanges>

/** The answer to a rollback, and to the applying of changes. */
export const CarriedFiles = z
  .object({
    files: z
      .array(
        z.object({
          ...CarriedFile.unwrap().shape,
          conflict: z
            .string()
            .exactOptional()
            .describe('Why nothing would be written; only if `dry_run` was set'),
        }),
      )
      .readonly()
      .describe('What was written, or would be. What is as it is to be already is not among them'),
    not_carried: z
      .array(z.string())
      .readonly()
      .describe(
        'What snapshots leave out, and what is gone (100 at most): never written, and never deleted',
      ),
    patch: z.string().exactOptional(),
    branch: z.string().exactOptional(),
    commit: z.string().exactOptional(),
    seq: count
      .exactOptional()
      .describe('Of the last record of the run afterwards; not with `dry_run`'),
  })
  .meta({ id: 'CarriedFiles' })
export type CarriedFiles = z.infer<typeof CarriedFiles>
