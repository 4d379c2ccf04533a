import { closeSync, existsSync, readdirSync, readFileSync } from 'node:fs'

/** Closes what was left open by the process that started the server, except the pipe at 3: commands would inherit it. */
export function closeInherited(): void {
  const O_CLOEXEC = 0o2000000
  const folder = '/proc/self/fdinfo'
  if (!existsSync(folder)) return
  for (const descriptor of readdirSync(folder)
    .map(Number)
    .filter((number) => number > 3)) {
    try {
      const flags = /^flags:\s+([0-7]+)$/m.exec(
        readFileSync(`${folder}/${descriptor}`, 'utf8'),
      )?.[1]
      // Node and libuv mark all of their own.
      if (flags !== undefined && (Number.parseInt(flags, 8) & O_CLOEXEC) === 0)
        closeSync(descriptor)
    } catch {
      // It was the one that read the folder.
    }
  }
}
