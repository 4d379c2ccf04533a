import { Button, Center, Stack, Text, Title } from '@mantine/core'
import { Link } from 'wouter'
import { useTitle } from '../ui/use-title.ts'

export function NotFound({
  title = 'Nothing here',
  children = 'There is nothing at this address.',
}: {
  readonly title?: string
  readonly children?: string
}) {
  useTitle(title)
  return (
    <Center h="60vh" p="lg">
      <Stack align="center" gap="sm" maw={460}>
        <Title order={1} size="h3">
          {title}
        </Title>
        <Text c="dimmed" ta="center">
          {children}
        </Text>
        <Button component={Link} href="/" variant="default" mt="sm">
          All runs
        </Button>
      </Stack>
    </Center>
  )
}
