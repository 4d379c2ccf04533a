import type { UseQueryResult } from '@tanstack/react-query'
import type { ReactNode } from 'react'
import { messageOf } from '../api/problem.ts'
import { ScrollRegion } from '../ui/scroll-region.tsx'
import classes from './server-page.module.css'

type Row = { readonly key: string | number; readonly cells: readonly ReactNode[] }

type Props<T> = {
  readonly title: string
  /** What the table is, in a sentence. */
  readonly about: ReactNode
  readonly query: Pick<UseQueryResult<T>, 'data' | 'error'>
  readonly columns: readonly string[]
  readonly rowsOf: (data: T) => readonly Row[]
  readonly children?: ReactNode
}

/** What the server answers, as a table. */
export function TablePage<T>({ title, about, query, columns, rowsOf, children }: Props<T>) {
  const { data, error } = query
  const rows = data === undefined ? [] : rowsOf(data)
  return (
    <>
      <h1>{title}</h1>
      <p>{about}</p>
      {error !== null && <p role="alert">{messageOf(error)}</p>}
      {data === undefined && error === null && <p role="status">Reading</p>}
      {data !== undefined && rows.length === 0 && <p>Nothing yet.</p>}
      {rows.length > 0 && (
        <ScrollRegion className={classes.scroller} label={title}>
          <table className={classes.table}>
            <thead>
              <tr>
                {columns.map((name) => (
                  <th key={name} scope="col">
                    {name}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {rows.map(({ key, cells }) => (
                <tr key={key}>
                  {cells.map((cell, index) => (
                    <td key={columns[index]}>{cell}</td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </ScrollRegion>
      )}
      {children}
    </>
  )
}
