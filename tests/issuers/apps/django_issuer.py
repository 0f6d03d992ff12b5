"""A Django project with SimpleJWT's own views. Reads SECRET_KEY, and keeps its users in DATABASE."""

import os

import django
from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.urls import path

from serving import serve

settings.configure(
    ROOT_URLCONF=__name__,
    SECRET_KEY=os.environ["SECRET_KEY"],
    ALLOWED_HOSTS=["127.0.0.1"],
    DATABASES={
        "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["DATABASE"]}
    },
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "rest_framework"],
    # The cheapest, because every test makes its user anew.
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": [
            "rest_framework_simplejwt.authentication.JWTAuthentication"
        ]
    },
)
django.setup()

from django.contrib.auth import get_user_model  # noqa: E402  (models need the settings)
from rest_framework_simplejwt.views import TokenObtainPairView, TokenRefreshView  # noqa: E402

urlpatterns = [
    path("api/token/", TokenObtainPairView.as_view()),
    path("api/token/refresh/", TokenRefreshView.as_view()),
]

call_command("migrate", verbosity=0)
user = get_user_model().objects.create_user("ann", "ann@example.org", "a password of Ann's")
serve(get_wsgi_application(), user=str(user.pk))
