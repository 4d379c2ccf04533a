/** A file, or a folder with what is in it. */
export type FileNode = { value: string; label: string; children?: FileNode[] }

/**
 * Files as a tree of folders. A folder that holds only another folder is one node with it. The value of a file is its
 * path, and that of a folder ends with a slash.
 */
export function treeOf(paths: readonly string[], folder = ''): FileNode[] {
  const nameOf = (path: string): string => path.slice(folder.length).split('/', 1)[0] ?? ''
  return [...Map.groupBy(paths, nameOf)].flatMap(([name, inside]): FileNode[] => {
    const file = `${folder}${name}`
    const deeper = inside.filter((path) => path !== file)
    // What was a file may have become a folder.
    const files = deeper.length < inside.length ? [{ value: file, label: name }] : []
    return deeper.length === 0 ? files : [...files, folderOf(name, deeper, `${file}/`)]
  })
}

function folderOf(name: string, paths: readonly string[], value: string): FileNode {
  const children = treeOf(paths, value)
  const [only] = children
  if (only?.children === undefined || children.length > 1) {
    return { value, label: name, children }
  }
  return { ...only, label: `${name}/${only.label}` }
}

/** The values of all folders in a tree. */
export const foldersIn = (nodes: readonly FileNode[]): string[] =>
  nodes.flatMap(({ value, children }) =>
    children === undefined ? [] : [value, ...foldersIn(children)],
  )
