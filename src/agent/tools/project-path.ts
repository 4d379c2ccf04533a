import { NulFree } from '../../domain/fields.ts'

/** The schema of a path argument: relative to the project, or absolute. */
export const projectPath = NulFree.min(1)
