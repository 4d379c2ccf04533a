import { basename, join, resolve } from 'node:path'

/** Where the copies are in which runs of a server work, each in a folder with the id of its run. */
export const copiesOf = (dataDir: string): string => `${resolve(dataDir)}-copies`

/** Where the copy of a run is. @param project the folder that is copied */
export const folderOfCopy = (dataDir: string, runId: string, project: string): string =>
  join(copiesOf(dataDir), runId, basename(project) || 'project')
