import { chmod, mkdir, realpath, rm, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { BYTECODE } from '../domain/snapshots.ts'
import type { RunState } from '../domain/state.ts'
import type { RunVerdict } from '../domain/verdict.ts'
import { pathBytes, shownPath } from '../lib/git-objects.ts'
import { isWithin } from '../lib/paths.ts'
import type { RunFiles } from '../snapshots/run-files.ts'

/** A check that the agent did not see. */
export type Hidden = { readonly files: Readonly<Record<string, string>>; readonly command: string }

/** Writes the last tree of a run with protected files of its first one. @returns paths that are not here */
export async function restore(
  files: RunFiles,
  { snapshot }: RunState,
  { verdict, cwd, more }: { verdict: RunVerdict; cwd: string; more: Hidden | null },
): Promise<string[]> {
  const lacking: string[] = []
  await mkdir(cwd)
  if (snapshot === undefined) return lacking
  const tampered = new Map(verdict.tampering.map(({ path, change }) => [path, change]))
  const put = async (bytes: string, mode: string, content: Buffer | null): Promise<void> => {
    const isNamed = pathBytes(shownPath(bytes)) === bytes
    if (content === null || !isNamed) lacking.push(shownPath(bytes))
    else await write(cwd, bytes, { mode, content })
  }
  const walk = async (tree: string, at: string): Promise<void> => {
    const entries = files.tree(tree)
    if (entries === null) lacking.push(`${shownPath(at)}/`)
    for (const { mode, name, id } of entries ?? []) {
      const path = at === '' ? name : `${at}/${name}`
      if (BYTECODE.test(path)) continue
      if (mode === '40000') await walk(id, path)
      else if (!tampered.has(shownPath(path))) await put(path, mode, await files.blob(id))
    }
  }
  await walk(snapshot.tree, '')
  for (const [path, change] of tampered) {
    const was = change === 'added' ? null : files.find(snapshot.first.tree, pathBytes(path))
    if (was === undefined) lacking.push(path)
    else if (was !== null) await put(pathBytes(path), was.mode, await files.blob(was.id))
  }
  for (const [path, content] of Object.entries(more?.files ?? {})) {
    await write(cwd, pathBytes(path), { mode: '100644', content: Buffer.from(content) })
  }
  return lacking
}

/** Follows no link, whatever the names in the trees are: somebody else made them. @throws Error if that is not possible */
async function write(
  cwd: string,
  bytes: string,
  { mode, content }: { readonly mode: string; readonly content: Buffer },
): Promise<void> {
  const path = join(cwd, shownPath(bytes))
  await mkdir(dirname(path), { recursive: true })
  const isInside = isWithin(cwd, path) && isWithin(cwd, await realpath(dirname(path)))
  if (!isInside || path === cwd) throw new Error(`${path} is outside of the project`)
  await rm(path, { recursive: true, force: true })
  if (mode === '120000') return symlink(content, path)
  await writeFile(path, content, { flag: 'wx' })
  if (mode === '100755') await chmod(path, 0o755)
}
