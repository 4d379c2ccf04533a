import { codeOf, messageOf } from '../../lib/message-of.ts'

/** Why a path of the project cannot be used. */
export type PathProblem =
  | { readonly type: 'outside_project' }
  | { readonly type: 'data_folder' }
  | { readonly type: 'dangling_link'; readonly link: string }
  | { readonly type: 'not_found' }
  | { readonly type: 'is_folder' }
  | { readonly type: 'not_empty' }
  | { readonly type: 'not_a_folder' }
  | { readonly type: 'not_a_file' }
  | { readonly type: 'too_large'; readonly maxBytes: number }
  | { readonly type: 'no_access' }
  /** git or this server obeys it. */
  | { readonly type: 'guarded' }
  | { readonly type: 'exists' }
  /** Something else was put at the path, or the file was changed, while it was used. */
  | { readonly type: 'changed_meanwhile' }
  | { readonly type: 'unusable'; readonly message: string }

/** A sentence for the model. */
export function describeProblem(path: string, problem: PathProblem): string {
  const name = JSON.stringify(path)
  switch (problem.type) {
    case 'outside_project':
      return `${name} is outside the project. Paths must stay inside it, also through symbolic links.`
    case 'data_folder':
      return `${name} is in the server's data folder, or contains it. No tool reads or changes that folder.`
    case 'dangling_link':
      return `${name} leads through ${problem.link}, a symbolic link to nothing.`
    case 'not_found':
      return `${name} does not exist.`
    case 'is_folder':
      return `${name} is a folder, not a file.`
    case 'not_empty':
      return `${name} is a folder that is not empty.`
    case 'not_a_folder':
      return `${name} is not a folder, or leads through something that is not a folder.`
    case 'not_a_file':
      return `${name} is not a regular file.`
    case 'too_large':
      return `${name} is too large to read: it has more than ${problem.maxBytes} bytes.`
    case 'no_access':
      return `${name}: permission denied.`
    case 'guarded':
      return `${name} cannot be changed by tools, because git or this server obeys it. If it must change, a person has to do that.`
    case 'exists':
      return `${name} exists already.`
    case 'changed_meanwhile':
      return `${name} was changed or replaced while it was used. Nothing was done.`
    case 'unusable':
      return `${name} cannot be used: ${problem.message}`
  }
}

/** What an error of the file system means for a path. */
export function problemOf(cause: unknown): PathProblem {
  // Without the system call and its path, which may be one of the server's own.
  const message = messageOf(cause).replace(/, \w+ '.*$/s, '')
  switch (codeOf(cause)) {
    case 'ENOENT':
      return { type: 'not_found' }
    case 'ENOTDIR':
      return { type: 'not_a_folder' }
    case 'EISDIR':
      return { type: 'is_folder' }
    case 'ENOTEMPTY':
      return { type: 'not_empty' }
    case 'EACCES':
    case 'EPERM':
      return { type: 'no_access' }
    case 'EEXIST':
      return { type: 'exists' }
    case 'ENXIO':
      return { type: 'not_a_file' }
    default:
      return { type: 'unusable', message }
  }
}
