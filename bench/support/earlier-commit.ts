import { execFileSync } from 'node:child_process'
import { mkdir, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

/** Puts the sources of a commit, as git names it, into a new folder, with the dependencies of this checkout. */
export async function sourcesOf(ref: string, folder: string): Promise<void> {
  await mkdir(folder)
  const options = { cwd: ROOT, maxBuffer: 1e9 }
  const archive = execFileSync('git', ['archive', '--format=tar', `${ref}^{commit}`], options)
  execFileSync('tar', ['-x', '-C', folder], { input: archive })
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
}
