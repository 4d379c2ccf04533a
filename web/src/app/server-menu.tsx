import { ActionIcon, Menu } from '@mantine/core'
import { IconDots } from '@tabler/icons-react'
import { useQuery } from '@tanstack/react-query'
import { Link } from 'wouter'
import { forgetToken, hasToken } from '../api/client.ts'
import { meQuery } from '../api/queries.ts'
import { SERVER_PAGES } from '../server/pages.ts'

/** The way to what the server as a whole has recorded, to its API, and out. */
export function ServerMenu() {
  const { data: me } = useQuery(meQuery)
  return (
    <Menu
      position="bottom-end"
      shadow="md"
      keepMounted={false}
      // Opened, the first item has the focus. The library's place for it is no item of a menu.
      withInitialFocusPlaceholder={false}
    >
      <Menu.Target>
        <ActionIcon variant="subtle" size="lg" aria-label="Menu">
          <IconDots size={19} stroke={1.6} />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Item component={Link} href="/search">
          Search
        </Menu.Item>
        {SERVER_PAGES.filter(({ needs }) => me?.may.includes(needs) === true).map(
          ({ name, title }) => (
            <Menu.Item key={name} component={Link} href={`/server/${name}`}>
              {title}
            </Menu.Item>
          ),
        )}
        <Menu.Item component="a" href="/docs">
          API
        </Menu.Item>
        {hasToken() && <Menu.Item onClick={forgetToken}>Sign out</Menu.Item>}
      </Menu.Dropdown>
    </Menu>
  )
}
