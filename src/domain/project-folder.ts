import * as z from 'zod'

/** Which folder the project of a run is. If a person named it through links, these were followed once. */
export const ProjectFolder = z
  .strictObject({
    /** Where it is, through no link. */
    path: z.string(),
    /** In decimal digits. A device may get another number when a machine restarts, and on another server of a shared disk. */
    device: z.string(),
    inode: z.string(),
  })
  .readonly()
export type ProjectFolder = z.infer<typeof ProjectFolder>
