import { readlinkSync, realpathSync } from 'node:fs'
import { basename, dirname, isAbsolute, join, resolve } from 'node:path'
import { isExecutable } from './sandbox.ts'

/**
 * Where the first program of a name is on a PATH: the file itself, because a container may not show a link to it. Null
 * if there is none. Folders that depend on the working directory are left out: a program of a project may be in one.
 */
export function findProgram(name: string, path = '/usr/bin:/bin'): string | null {
  const folders = path.split(':').filter(isAbsolute)
  const found = folders.map((folder) => join(folder, name)).find(isExecutable)
  return found === undefined ? null : throughLinks(found)
}

/** Follows links that keep the name: with another one, a program such as BusyBox or passt does something else. */
function throughLinks(path: string): string {
  const folder = realpathSync(dirname(path))
  const file = join(folder, basename(path))
  const target = targetOf(file)
  return target !== null && basename(target) === basename(file)
    ? throughLinks(resolve(folder, target))
    : file
}

/** Null if it is not a link. */
function targetOf(path: string): string | null {
  try {
    return readlinkSync(path)
  } catch {
    return null
  }
}
