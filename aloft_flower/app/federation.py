"""What Flower loads: the installed server. A site runs its own installed code in place of this."""

from flwr.clientapp import ClientApp

from aloft_flower import rounds

server = rounds.server
site = ClientApp()
