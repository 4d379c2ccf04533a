import { execFileSync } from 'node:child_process'
import type { Site, SiteServer } from '../support/site.ts'

export const sh = (cwd: string, script: string): string =>
  execFileSync('bash', ['-ec', script], { cwd, encoding: 'utf8' }).trim()

/** All that is in a folder, byte by byte. */
export const sums = (folder: string, but = ''): string =>
  sh(
    folder,
    `find . ${but} \\( -type f -exec sha256sum {} + \\) -o -type l -printf '%p -> %l\\n' | sort -k2`,
  )

const PROJECT = `
git init -qb main; git config user.email a@b; git config user.name a
printf 'node_modules\\n*.log\\n' >.gitignore; echo 1 >a.txt; echo 2 >gone.txt; mkdir sub; echo 3 >sub/deep
git add -A; git commit -qm one; echo uncommitted >>a.txt; echo new >untracked; git add untracked
mkdir -p node_modules/x; echo lib >node_modules/x/index.js; echo noise >build.log`
export const WORK =
  'echo work >>a.txt; rm gone.txt; chmod +x sub/deep; mkdir fresh; echo made >fresh/file; touch done'

/** A run in a copy, without a last check: that would make another copy. */
export const IN_COPY = { workspace: 'copy', on_tampering: 'off' } as const

export async function repository(site: Site, name = 'project'): Promise<string> {
  const project = await site.project(name)
  sh(project, PROJECT)
  return project
}

/** A run of the server that has done the work in a copy of a new project. */
export async function worked(site: Site, server: SiteServer, name: string, more: object = {}) {
  const project = await repository(site, name)
  const before = sums(project)
  const runId = await server.start(project, { ...IN_COPY, ...more })
  const { body } = await server.untilStatus(runId, 'achieved')
  return { project, before, runId, run: body }
}

export const kindsOf = async (server: SiteServer, runId: string): Promise<string[]> =>
  JSON.parse((await server.get(`/api/runs/${runId}/events?kinds=all`)).text).map(
    ({ kind }: { kind: string }) => kind,
  )
export const recordOf = async (server: SiteServer, runId: string, kind: string) =>
  JSON.parse((await server.get(`/api/runs/${runId}/events?kinds=${kind}`)).text).at(-1)?.payload

/** Carried files as the API names them, each an action and a path. */
export const carried = (...files: readonly string[]) =>
  files.map((file) => {
    const [action, path] = file.split(' ')
    return { path, action }
  })
